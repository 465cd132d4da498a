-- The members of each band that a fresh row shares with others: a band together and in order of arrival, earlier
-- batches first, then the smaller id. Of fresh rows with one text only the first is compared.
WITH new_keys AS (
  SELECT id, explode(bands) AS band
  FROM (
    SELECT id, bands, row_number() OVER (PARTITION BY duplicate_key ORDER BY id) AS nth
    FROM {rows} WHERE signature IS NOT NULL
  )
  WHERE nth = 1
),
-- Bands of earlier rows that no fresh row has are dropped before anything is sorted: they are nearly all.
keys AS (
  SELECT true AS fresh, id, band FROM new_keys
  UNION ALL
  SELECT false AS fresh, id, band
  FROM (SELECT id, explode(bands) AS band FROM {previous} WHERE signature IS NOT NULL)
  LEFT SEMI JOIN new_keys USING (band)
),
counted AS (
  SELECT *, count(*) OVER (PARTITION BY band) AS members FROM keys
),
signed AS (
  SELECT true AS fresh, id, signature FROM {rows}
  UNION ALL
  SELECT false AS fresh, id, signature FROM {previous}
)
SELECT band, fresh, id, signature
FROM (SELECT band, fresh, id FROM counted WHERE members > 1) JOIN signed USING (fresh, id)
DISTRIBUTE BY band SORT BY band, fresh, id
