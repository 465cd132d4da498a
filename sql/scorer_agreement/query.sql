-- How two scorers agree, for every pair of terms in the output of influence_scores: Spearman's rank correlation, and
-- the share of the first `top_share` by one that is in the first by the other. A norm that only echoes one term, or
-- the length, shows here.
WITH values AS (
  SELECT id, t.term, t.value
  FROM {scores} LATERAL VIEW inline(array(
    named_struct('term', 'score', 'value', score), named_struct('term', 'hmp', 'value', hmp),
    named_struct('term', 'cas', 'value', cas), named_struct('term', 'window_gap', 'value', window_gap),
    named_struct('term', 'ifd', 'value', ifd), named_struct('term', 'perplexity', 'value', perplexity),
    named_struct('term', 'random', 'value', random), named_struct('term', 'length', 'value', length))) t
  WHERE t.value IS NOT NULL
),
ranked AS (
  SELECT *, rank() OVER (PARTITION BY term ORDER BY value)
           + (count(*) OVER (PARTITION BY term, value) - 1) / 2 AS average_rank,
         row_number() OVER (PARTITION BY term ORDER BY value DESC, id)
           <= ceil(double(:top_share) * count(*) OVER (PARTITION BY term)) AS is_top
  FROM values
)
SELECT a.term AS one, b.term AS other, count(*) AS samples,
       coalesce(try_divide(covar_pop(a.average_rank, b.average_rank),
           stddev_pop(a.average_rank) * stddev_pop(b.average_rank)), 0) AS rank_correlation,
       count_if(a.is_top AND b.is_top) / greatest(1, least(count_if(a.is_top), count_if(b.is_top))) AS top_overlap
FROM ranked a JOIN ranked b ON a.id = b.id AND a.term < b.term
GROUP BY a.term, b.term
