-- The members of each band that a fresh row shares with others: a band together and in order of arrival, earlier
-- batches first, then the smaller id. Of fresh rows with one text only the first is compared.
WITH keys AS (
  SELECT true AS fresh, id, explode(bands) AS band
  FROM (
    SELECT id, bands, row_number() OVER (PARTITION BY duplicate_key ORDER BY id) AS nth
    FROM {rows} WHERE signature IS NOT NULL
  )
  WHERE nth = 1
  UNION ALL
  SELECT false AS fresh, id, explode(bands) AS band FROM {previous} WHERE signature IS NOT NULL
),
counted AS (
  SELECT *, count(*) OVER (PARTITION BY band) AS members, bool_or(fresh) OVER (PARTITION BY band) AS wanted FROM keys
),
signed AS (
  SELECT true AS fresh, id, signature FROM {rows}
  UNION ALL
  SELECT false AS fresh, id, signature FROM {previous}
)
SELECT band, fresh, id, signature
FROM (SELECT band, fresh, id FROM counted WHERE members > 1 AND wanted) JOIN signed USING (fresh, id)
DISTRIBUTE BY band SORT BY band, fresh, id
