-- Do rows whose context lost its head score otherwise, and go with length otherwise, than those that were read whole?
-- Truncated ones were longer than the long model or influence.max_tokens. with_length is Spearman's rank correlation
-- with the tokens of the whole context, those that were cut off included, ties at their mean rank.
WITH scored AS (
  SELECT t.sample, i.truncated, t.score, t.hmp, t.cas, i.windowed_log_ppl - i.long_log_ppl AS window_gap,
         exp(i.long_log_ppl - i.unasked_log_ppl) AS ifd, i.long_log_ppl AS perplexity,
         i.context_tokens + i.dropped_tokens AS length
  FROM training_set t JOIN influence i ON i.sample = t.sample
  WHERE t.score IS NOT NULL AND i.reject_reason IS NULL
),
terms AS (
  SELECT truncated, term, value, length
  FROM scored
  LATERAL VIEW stack(6, 'score', score, 'hmp', hmp, 'cas', cas, 'window_gap', window_gap, 'ifd', ifd,
                     'perplexity', perplexity) AS term, value
  WHERE value IS NOT NULL
),
ranked AS (
  SELECT *, rank() OVER (PARTITION BY truncated, term ORDER BY value)
           + (count(*) OVER (PARTITION BY truncated, term, value) - 1) / 2 AS mean_rank,
         rank() OVER (PARTITION BY truncated, term ORDER BY length)
           + (count(*) OVER (PARTITION BY truncated, term, length) - 1) / 2 AS length_rank
  FROM terms
)
SELECT truncated, term, count(*) AS n_rows, min(value) AS least, percentile(value, 0.25) AS p25, median(value) AS median,
       percentile(value, 0.75) AS p75, max(value) AS most, avg(value) AS mean,
       try_divide(covar_pop(mean_rank, length_rank), stddev_pop(mean_rank) * stddev_pop(length_rank)) AS with_length
FROM ranked
GROUP BY truncated, term
ORDER BY truncated, term
