-- Which fresh rows repeat an earlier one? An earlier batch wins, then the smaller id. A row is compared with
-- its direct neighbours only, so a chain a ~ b ~ c keeps a and rejects b and c, naming a and b.
WITH candidates AS (
  SELECT id, duplicate_key, signature, bands, true AS fresh FROM {rows} WHERE signature IS NOT NULL
  UNION ALL
  SELECT id, duplicate_key, signature, bands, false AS fresh FROM {previous} WHERE signature IS NOT NULL
),
same_text AS (
  SELECT a.id, min_by(b.id, struct(b.fresh, b.id)) AS twin
  FROM candidates a JOIN candidates b ON a.duplicate_key = b.duplicate_key
  WHERE a.fresh AND a.id <> b.id AND (NOT b.fresh OR b.id < a.id)
  GROUP BY a.id
),
banded AS (SELECT id, fresh, explode(bands) AS band FROM candidates WHERE :near),
pairs AS (
  SELECT DISTINCT a.id, b.id AS other
  FROM banded a JOIN banded b ON a.band = b.band
  WHERE a.fresh AND a.id <> b.id AND (NOT b.fresh OR b.id < a.id)
),
alike AS (
  SELECT p.id, min_by(p.other, struct(b.fresh, b.id)) AS twin
  FROM pairs p
  JOIN candidates a ON a.id = p.id AND a.fresh
  JOIN candidates b ON b.id = p.other
  WHERE aggregate(zip_with(a.signature, b.signature, (x, y) -> int(x = y)), 0, (n, hit) -> n + hit)
        >= :threshold * size(a.signature)
  GROUP BY p.id
)
SELECT coalesce(s.id, n.id) AS id,
       CASE WHEN s.id IS NOT NULL THEN concat('exact_duplicate:', s.twin)
            ELSE concat('near_duplicate:', n.twin) END AS duplicate_reason
FROM same_text s FULL OUTER JOIN alike n ON s.id = n.id
