-- How many rows reached each table, how many were kept, and why were the others not?
-- A reason that names a row (near_duplicate:…) counts without it. A row that waits is tried again by the next run.
-- Fitted tables and the counts of the graph are left out: their rows are not rows that came from somewhere.
WITH fates AS (
  SELECT 1 AS step, 'conversations' AS stage, reject_reason FROM conversations
  UNION ALL SELECT 2, 'long_conversations', reject_reason FROM long_conversations
  UNION ALL SELECT 3, 'meta_records', reject_reason FROM meta_records
  UNION ALL SELECT 4, 'conversation_types', reject_reason FROM conversation_types
  UNION ALL SELECT 5, 'canonical_values', reject_reason FROM canonical_values
  UNION ALL SELECT 6, 'task_rewrites', reject_reason FROM task_rewrites
  UNION ALL SELECT 7, 'seed_paths', reject_reason FROM seed_paths
  UNION ALL SELECT 8, 'documents', reject_reason FROM documents
  UNION ALL SELECT 9, 'long_documents', reject_reason FROM long_documents
  UNION ALL SELECT 10, 'document_features', reject_reason FROM document_features
  UNION ALL SELECT 11, 'document_labels', reject_reason FROM document_labels
  UNION ALL SELECT 12, 'typed_documents', reject_reason FROM typed_documents
  UNION ALL SELECT 13, 'imports', reject_reason FROM imports
  UNION ALL SELECT 13, 'walks', reject_reason FROM walks
  UNION ALL SELECT 14, 'instructions', reject_reason FROM instructions
  UNION ALL SELECT 15, 'pairings', reject_reason FROM pairings
  UNION ALL SELECT 16, 'samples', reject_reason FROM samples
  UNION ALL SELECT 17, 'influence', reject_reason FROM influence
  UNION ALL SELECT 18, 'training_set', reject_reason FROM training_set
),
steps AS (
  SELECT inline(array(
    struct(1 AS step, 'conversations' AS stage), struct(2 AS step, 'long_conversations' AS stage),
    struct(3 AS step, 'meta_records' AS stage), struct(4 AS step, 'conversation_types' AS stage),
    struct(5 AS step, 'canonical_values' AS stage), struct(6 AS step, 'task_rewrites' AS stage),
    struct(7 AS step, 'seed_paths' AS stage), struct(8 AS step, 'documents' AS stage),
    struct(9 AS step, 'long_documents' AS stage), struct(10 AS step, 'document_features' AS stage),
    struct(11 AS step, 'document_labels' AS stage), struct(12 AS step, 'typed_documents' AS stage),
    struct(13 AS step, 'imports' AS stage), struct(13 AS step, 'walks' AS stage),
    struct(14 AS step, 'instructions' AS stage), struct(15 AS step, 'pairings' AS stage),
    struct(16 AS step, 'samples' AS stage), struct(17 AS step, 'influence' AS stage),
    struct(18 AS step, 'training_set' AS stage)))
),
epochs AS (SELECT stage, max(epoch) AS epoch FROM stage_runs GROUP BY stage),
waiting AS (
  SELECT d.stage, d.input_id, max_by(d.reason, d.pass) AS reason
  FROM deferrals d JOIN epochs e ON e.stage = d.stage AND e.epoch = d.epoch
  GROUP BY d.stage, d.input_id
),
counted AS (
  SELECT step, stage, if(reject_reason IS NULL, 'kept', 'rejected') AS outcome,
         regexp_replace(reject_reason, ':[0-9a-f]{32,}$', '') AS reason, count(*) AS n_rows
  FROM fates GROUP BY ALL
  UNION ALL
  SELECT coalesce(s.step, 0), w.stage, 'waits', w.reason, count(*)
  FROM waiting w LEFT JOIN steps s ON s.stage = w.stage
  WHERE w.reason IS NOT NULL GROUP BY ALL
)
SELECT step, stage, outcome, reason, n_rows, n_rows / sum(n_rows) OVER (PARTITION BY stage) AS share
FROM counted
ORDER BY step, stage, outcome, n_rows DESC, reason
