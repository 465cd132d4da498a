-- How are the token lengths of context, instruction and response spread?
-- Buckets grow by the square root of two, so that two of them double the length.
WITH parts AS (
  SELECT t.setting, part, int(floor(2 * log2(greatest(tokens, 1)))) AS bucket
  FROM training_set t JOIN samples s ON s.id = t.sample
  LATERAL VIEW stack(3, 'context', s.lengths.context, 'instruction', s.lengths.instruction,
                     'response', s.lengths.response) AS part, tokens
  WHERE t.reject_reason IS NULL
)
SELECT setting, part, bigint(ceil(pow(2, bucket / 2))) AS tokens_from, bigint(ceil(pow(2, (bucket + 1) / 2))) - 1 AS tokens_to,
       count(*) AS n_rows, count(*) / sum(count(*)) OVER (PARTITION BY setting, part) AS share
FROM parts
GROUP BY setting, part, bucket
ORDER BY setting, part, bucket
