-- Under which settings, prompts and versions was each table made last?
-- The newest execution of every stage; `made_from` is the recipe in full, `recipe` its hash.
WITH newest AS (
  SELECT stage, max(struct(sequence, epoch, recipe, output_version, run_id, made_from)) AS run
  FROM stage_runs WHERE recipe <> '' GROUP BY stage
)
SELECT stage, run.epoch, run.output_version, run.recipe, run.run_id, run.made_from
FROM newest
ORDER BY run.sequence, stage
