-- What do the rows look like that were turned away, reason by reason?
-- :top 3  examples shown a stage and reason
WITH told AS (
  SELECT 1 AS step, 'conversations' AS stage, id, reject_reason, coalesce(user_text, meta) AS text FROM conversations
  UNION ALL
  SELECT 2, 'long_conversations', l.id, l.reject_reason, c.user_text
  FROM long_conversations l LEFT JOIN conversations c ON c.id = l.conversation
  UNION ALL
  SELECT 3, 'meta_records', m.id, m.reject_reason, c.user_text
  FROM meta_records m LEFT JOIN conversations c ON c.id = m.conversation
  UNION ALL SELECT 4, 'documents', id, reject_reason, coalesce(text, meta) FROM documents
  UNION ALL
  SELECT 5, 'long_documents', l.id, l.reject_reason, d.text FROM long_documents l LEFT JOIN documents d ON d.id = l.document
  UNION ALL SELECT 6, 'imports', id, reject_reason, concat_ws(' → ', instruction, response) FROM imports
  UNION ALL SELECT 6, 'instructions', id, reject_reason, instruction FROM instructions
  UNION ALL
  SELECT 7, 'samples', id, reject_reason, concat_ws(' → ', instruction, response) FROM samples
),
refused AS (SELECT step, stage, id, reject_reason, left(text, 400) AS excerpt FROM told),
coded AS (
  SELECT *, regexp_replace(reject_reason, ':[0-9a-f]{32,}$', '') AS reason FROM refused WHERE reject_reason IS NOT NULL
),
placed AS (
  SELECT *, row_number() OVER (PARTITION BY stage, reason ORDER BY id) AS place,
         count(*) OVER (PARTITION BY stage, reason) AS n_rows
  FROM coded
)
SELECT stage, reason, n_rows, place, id, reject_reason, excerpt
FROM placed
WHERE place <= :top
ORDER BY step, n_rows DESC, reason, place
