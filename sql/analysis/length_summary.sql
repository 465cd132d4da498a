-- How long are context, instruction, response and the whole row, in tokens?
WITH parts AS (
  SELECT t.setting, part, tokens
  FROM training_set t JOIN samples s ON s.id = t.sample
  LATERAL VIEW stack(4, 'context', s.lengths.context, 'instruction', s.lengths.instruction,
                     'response', s.lengths.response, 'whole row', t.n_tokens) AS part, tokens
  WHERE t.reject_reason IS NULL
)
SELECT setting, part, count(*) AS n_rows, min(tokens) AS shortest, bigint(percentile(tokens, 0.1)) AS p10,
       bigint(median(tokens)) AS median, bigint(percentile(tokens, 0.9)) AS p90, max(tokens) AS longest,
       sum(tokens) AS tokens
FROM parts
GROUP BY setting, part
ORDER BY setting, part
