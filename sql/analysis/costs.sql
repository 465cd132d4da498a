-- What did the teacher cost, by stage and by accepted row?
-- Every call that was made counts, failed ones too; answers served from the ledger were made once.
WITH accepted AS (SELECT count(*) AS n FROM samples WHERE reject_reason IS NULL)
SELECT stage, count(*) AS calls, count_if(status <> 'ok') AS failed, coalesce(sum(tokens_in), 0) AS tokens_in,
       coalesce(sum(tokens_out), 0) AS tokens_out, coalesce(sum(tokens_cached), 0) AS tokens_cached,
       coalesce(sum(seconds), 0D) AS call_seconds, try_divide(count(*), max(n)) AS calls_per_accepted,
       try_divide(coalesce(sum(tokens_in), 0), max(n)) AS tokens_in_per_accepted,
       try_divide(coalesce(sum(tokens_out), 0), max(n)) AS tokens_out_per_accepted
FROM llm_calls CROSS JOIN accepted
GROUP BY stage
ORDER BY tokens_in + tokens_out DESC, calls DESC, stage
