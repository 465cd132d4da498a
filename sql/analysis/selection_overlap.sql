-- How many of the selected rows would another rule have selected, taking as many?
-- Rules: the score, each of its terms, the longest rows, the shortest rows, and a fixed draw by hash.
WITH scored AS (
  SELECT sample, reject_reason IS NULL AS selected, score, hmp, cas, n_tokens FROM training_set WHERE score IS NOT NULL
),
total AS (SELECT count_if(selected) AS n_selected, count(*) AS n_scored FROM scored),
ruled AS (
  SELECT sample, selected, rule,
         row_number() OVER (PARTITION BY rule ORDER BY value DESC, sample) AS place
  FROM scored
  LATERAL VIEW stack(6, 'score', score, 'hmp', hmp, 'cas', cas, 'longest', double(n_tokens),
                     'shortest', -double(n_tokens), 'by hash', double(pmod(xxhash64(sample), 1000000007))) AS rule, value
)
SELECT rule, max(n_selected) AS n_selected, max(n_scored) AS n_scored,
       count_if(selected AND place <= n_selected) AS in_both,
       try_divide(count_if(selected AND place <= n_selected), max(n_selected)) AS overlap
FROM ruled CROSS JOIN total
GROUP BY rule
ORDER BY overlap DESC, rule
