-- Where did the time go, over all runs of the root?
-- Only executions that took time count: notes of what was unchanged or carried over are left out.
SELECT stage, count(*) AS executions, sum(seconds) AS seconds, sum(seconds) / sum(sum(seconds)) OVER () AS share,
       sum(rows_out) AS rows_out, try_divide(sum(rows_out), sum(seconds)) AS rows_per_second, sum(calls) AS calls
FROM stage_runs
WHERE seconds > 0
GROUP BY stage
ORDER BY seconds DESC, stage
