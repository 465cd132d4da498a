-- How are the influence scores spread, and where does selection cut?
-- score = alpha HMP + (1 - alpha) CAS after the norm of the settings; high CAS means attention on unimportant segments.
WITH terms AS (
  SELECT setting, reject_reason IS NULL AS selected, term, value
  FROM training_set LATERAL VIEW stack(3, 'score', score, 'hmp', hmp, 'cas', cas) AS term, value
  WHERE value IS NOT NULL
)
SELECT setting, term, selected, count(*) AS n_rows, min(value) AS least, percentile(value, 0.25) AS p25,
       median(value) AS median, percentile(value, 0.75) AS p75, max(value) AS most, avg(value) AS mean
FROM terms
GROUP BY setting, term, selected
ORDER BY setting, term, selected DESC
