-- Which fresh rows repeat an earlier one? An earlier batch wins, then the smaller id. A row is compared with
-- its direct neighbours only, so a chain a ~ b ~ c keeps a and rejects b and c, naming a and b.
-- `found` has, for each band of a row (see sql/band_members), the first earlier row in it that is alike;
-- in a batch that is replayed after its write this may be the row itself.
WITH candidates AS (
  SELECT id, duplicate_key, true AS fresh FROM {rows} WHERE signature IS NOT NULL
  UNION ALL
  SELECT id, duplicate_key, false AS fresh FROM {previous} WHERE signature IS NOT NULL
),
first_of_text AS (
  SELECT id, fresh, first_value(id) OVER (PARTITION BY duplicate_key ORDER BY fresh, id) AS twin FROM candidates
),
same_text AS (SELECT id, twin FROM first_of_text WHERE fresh AND twin <> id),
alike AS (SELECT id, min_by(other, struct(other_fresh, other)) AS twin FROM {found} WHERE other <> id GROUP BY id)
SELECT coalesce(s.id, n.id) AS id,
       CASE WHEN s.id IS NOT NULL THEN concat('exact_duplicate:', s.twin)
            ELSE concat('near_duplicate:', n.twin) END AS duplicate_reason
FROM same_text s FULL OUTER JOIN alike n ON s.id = n.id
