-- Do the scorers agree, and would they take the same rows?
-- Every pair of the score, its two terms and the scorers it is compared with, over the rows that have a score: Spearman's
-- rank correlation, ties at their mean rank, and the share of the first rows by one that are among the first by the
-- other. A norm that only echoes one term, or the length, shows here. `length` is the context that the long model read.
-- :share 0.1  part of the rows that counts as the first
-- :seed 13  seed of the scorer `random`, that of the run
WITH scored AS (
  SELECT t.sample, t.score, t.hmp, t.cas, i.windowed_log_ppl - i.long_log_ppl AS window_gap,
         exp(i.long_log_ppl - i.unasked_log_ppl) AS ifd, i.long_log_ppl AS perplexity,
         pmod(xxhash64(t.sample, bigint(:seed)), 1000000007) / 1000000007D AS random, double(i.context_tokens) AS length
  FROM training_set t JOIN influence i ON i.sample = t.sample
  WHERE t.score IS NOT NULL AND i.reject_reason IS NULL
),
terms AS (
  SELECT sample, term, value
  FROM scored
  LATERAL VIEW stack(8, 'score', score, 'hmp', hmp, 'cas', cas, 'window_gap', window_gap, 'ifd', ifd,
                     'perplexity', perplexity, 'random', random, 'length', length) AS term, value
  WHERE value IS NOT NULL
),
ranked AS (
  SELECT *, rank() OVER (PARTITION BY term ORDER BY value)
           + (count(*) OVER (PARTITION BY term, value) - 1) / 2 AS mean_rank,
         row_number() OVER (PARTITION BY term ORDER BY value DESC, sample)
           <= ceil(double(:share) * count(*) OVER (PARTITION BY term)) AS is_first
  FROM terms
)
SELECT a.term AS one, b.term AS other, count(*) AS samples,
       try_divide(covar_pop(a.mean_rank, b.mean_rank),
                  stddev_pop(a.mean_rank) * stddev_pop(b.mean_rank)) AS rank_correlation,
       count_if(a.is_first AND b.is_first) / greatest(1, least(count_if(a.is_first), count_if(b.is_first))) AS top_overlap
FROM ranked a JOIN ranked b ON a.sample = b.sample AND a.term < b.term
GROUP BY a.term, b.term
ORDER BY one, other
