-- What was planned to be asked and paid, by stage, and what was?
-- The newest run that ended with a plan open, together with those that began what it ended: a plan (jobs/plan.py) is for
-- the runs up to the first that comes to its end. Money is in US dollars, planned money at the price of the stage's teacher
-- in the run: by batch files it is half of what the plan tells online.
WITH told AS (
  SELECT run_id, sequence, from_json(detail, 'plan ARRAY<STRUCT<stage STRING, planned STRUCT<
           calls STRUCT<low DOUBLE, expected DOUBLE, high DOUBLE>, tokens_in STRUCT<low DOUBLE, expected DOUBLE, high DOUBLE>,
           tokens_out STRUCT<low DOUBLE, expected DOUBLE, high DOUBLE>, money STRUCT<low DOUBLE, expected DOUBLE, high DOUBLE>>,
           actual STRUCT<calls BIGINT, tokens_in BIGINT, tokens_out BIGINT, tokens_cached BIGINT, money DOUBLE>>>').plan AS plan
  FROM stage_runs WHERE stage = 'run' AND state <> 'begun'
), newest AS (
  SELECT max_by(struct(run_id, plan), sequence) AS run FROM told WHERE size(plan) > 0
), stages AS (
  SELECT run.run_id, posexplode(run.plan) AS (place, one) FROM newest
)
SELECT run_id, one.stage, one.planned.calls.expected AS calls_planned, one.planned.calls.low AS calls_low,
       one.planned.calls.high AS calls_high, one.actual.calls, one.planned.tokens_in.expected AS tokens_in_planned,
       one.actual.tokens_in, one.actual.tokens_cached, one.planned.tokens_out.expected AS tokens_out_planned,
       one.actual.tokens_out, one.planned.money.expected AS usd_planned, one.planned.money.low AS usd_low,
       one.planned.money.high AS usd_high, one.actual.money AS usd
FROM stages
ORDER BY place
