-- Which fresh rows repeat an earlier one? An earlier batch wins, then the smaller id. A row is compared with
-- its direct neighbours only, so a chain a ~ b ~ c keeps a and rejects b and c, naming a and b.
WITH candidates AS (
  SELECT id, duplicate_key, signature, bands, true AS fresh FROM {rows} WHERE signature IS NOT NULL
  UNION ALL
  SELECT id, duplicate_key, signature, bands, false AS fresh FROM {previous} WHERE signature IS NOT NULL
),
first_of_text AS (
  SELECT id, fresh, first_value(id) OVER (PARTITION BY duplicate_key ORDER BY fresh, id) AS twin FROM candidates
),
same_text AS (SELECT id, twin FROM first_of_text WHERE fresh AND twin <> id),
buckets AS (
  SELECT collect_set(struct(fresh, id)) AS members
  FROM (SELECT fresh, id, explode(bands) AS band FROM candidates WHERE :near)
  GROUP BY band HAVING count(*) > 1 AND bool_or(fresh)
),
met AS (SELECT members, explode(members) AS one FROM buckets),
neighbours AS (
  SELECT one.id, explode(filter(members, other -> struct(other.fresh, other.id) < struct(one.fresh, one.id))) AS other
  FROM met WHERE one.fresh
),
pairs AS (SELECT DISTINCT id, other.id AS other, other.fresh FROM neighbours),
alike AS (
  SELECT p.id, min_by(p.other, struct(p.fresh, p.other)) AS twin
  FROM pairs p
  JOIN candidates a ON a.id = p.id AND a.fresh
  JOIN candidates b ON b.id = p.other AND b.fresh = p.fresh
  WHERE aggregate(zip_with(a.signature, b.signature, (x, y) -> int(x = y)), 0, (n, hit) -> n + hit)
        >= :threshold * size(a.signature)
  GROUP BY p.id
)
SELECT coalesce(s.id, n.id) AS id,
       CASE WHEN s.id IS NOT NULL THEN concat('exact_duplicate:', s.twin)
            ELSE concat('near_duplicate:', n.twin) END AS duplicate_reason
FROM same_text s FULL OUTER JOIN alike n ON s.id = n.id
