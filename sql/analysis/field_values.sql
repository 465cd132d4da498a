-- Which values does each field have most, after equal ones were merged?
-- :top 5  values shown a field
WITH counted AS (
  SELECT field, value, sum(count) AS conversations FROM nodes WHERE setting = 'single'
  GROUP BY field, value HAVING sum(count) > 0
),
total AS (SELECT count(*) AS n FROM seed_paths WHERE setting = 'single' AND reject_reason IS NULL),
ranked AS (
  SELECT *, row_number() OVER (PARTITION BY field ORDER BY conversations DESC, value) AS place,
         count(*) OVER (PARTITION BY field) AS distinct_values
  FROM counted
)
SELECT field, place, value, conversations, try_divide(conversations, n) AS share, distinct_values
FROM ranked CROSS JOIN total
WHERE place <= :top
ORDER BY field, place
