-- Does the score follow both of its terms, or only one of them, or merely the length?
-- Spearman's rank correlation over scored rows, ties at their mean rank.
WITH terms AS (
  SELECT sample, term, value
  FROM training_set
  LATERAL VIEW stack(4, 'score', score, 'hmp', hmp, 'cas', cas, 'n_tokens', double(n_tokens)) AS term, value
  WHERE score IS NOT NULL
),
ranked AS (
  SELECT *, rank() OVER (PARTITION BY term ORDER BY value)
           + (count(*) OVER (PARTITION BY term, value) - 1) / 2 AS mean_rank
  FROM terms
)
SELECT a.term AS one, b.term AS other, count(*) AS n_rows,
       try_divide(covar_pop(a.mean_rank, b.mean_rank), stddev_pop(a.mean_rank) * stddev_pop(b.mean_rank)) AS correlation
FROM ranked a JOIN ranked b ON a.sample = b.sample AND a.term < b.term
GROUP BY a.term, b.term
ORDER BY one, other
