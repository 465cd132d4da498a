-- What did each run pay for calls, by stage, and what did the ledger and prefix caches save it?
-- Money is in US dollars, and empty where the price of the model is not known. Runs count once they have ended; tokens of
-- calls that a killed run left behind stand in `costs` alone.
WITH ended AS (
  SELECT run_id, sequence, explode(from_json(detail, 'costs ARRAY<STRUCT<stage STRING, calls BIGINT, served BIGINT,
           tokens_in BIGINT, tokens_out BIGINT, tokens_cached BIGINT, money DOUBLE, saved_ledger DOUBLE,
           saved_cache DOUBLE>>').costs) AS cost
  FROM stage_runs WHERE stage = 'run' AND state <> 'begun'
), made AS (
  SELECT run_id, count(*) AS accepted FROM samples WHERE reject_reason IS NULL GROUP BY run_id
)
SELECT ended.run_id, cost.stage, cost.calls, cost.served, cost.tokens_in, cost.tokens_cached, cost.tokens_out,
       cost.money AS usd, cost.saved_ledger AS usd_saved_by_ledger, cost.saved_cache AS usd_saved_by_cache,
       coalesce(accepted, 0) AS accepted, try_divide(cost.money, accepted) AS usd_per_accepted
FROM ended LEFT JOIN made ON made.run_id = ended.run_id
ORDER BY sequence, cost.stage
