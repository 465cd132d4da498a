-- Which kinds of requests are there: the commonest verbs with their objects?
-- Reads the view instruction_forms, which holds the heuristic; '(none)' is where it found nothing.
-- :top 25  pairs shown
WITH pairs AS (
  SELECT coalesce(verb, '(none)') AS verb, coalesce(object, '(none)') AS object, count(*) AS n_rows
  FROM instruction_forms GROUP BY ALL
),
ranked AS (
  SELECT *, n_rows / sum(n_rows) OVER () AS share, sum(n_rows) OVER (PARTITION BY verb) AS verb_rows,
         row_number() OVER (ORDER BY n_rows DESC, verb, object) AS place
  FROM pairs
)
SELECT place, verb, object, n_rows, share, verb_rows
FROM ranked
WHERE place <= :top
ORDER BY place
