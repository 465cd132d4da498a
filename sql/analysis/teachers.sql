-- Which teacher, model and version of which prompt wrote what?
-- Kept rows only; the prompt is told by the hash of its text.
WITH written AS (
  SELECT 1 AS step, 'meta_records' AS stage, teacher, model, prompt_sha, reject_reason FROM meta_records
  UNION ALL SELECT 2, 'document_types', teacher, model, NULL, reject_reason FROM document_types
  UNION ALL SELECT 3, 'document_labels', teacher, model, prompt_sha, reject_reason FROM document_labels
  UNION ALL SELECT 4, 'task_rewrites', teacher, model, prompt_sha, reject_reason FROM task_rewrites
  UNION ALL SELECT 5, 'instructions', teacher, model, prompt_sha, reject_reason FROM instructions
  UNION ALL
  SELECT 6, 'samples', generator.teacher, generator.model, generator.prompt_sha, reject_reason FROM samples
)
SELECT stage, teacher, model, prompt_sha, count(*) AS n_rows
FROM written
WHERE reject_reason IS NULL
GROUP BY step, stage, teacher, model, prompt_sha
ORDER BY step, n_rows DESC, teacher, model, prompt_sha
