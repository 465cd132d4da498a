-- Which tasks are asked of which document types (WildLong, Figure 3: types inside, tasks outside)?
-- Conversations by their merged task values: one with two tasks counts twice. Rows of the training set by the task of
-- their walk; a walk need not pass through one.
WITH asked AS (
  SELECT 'conversations' AS side, document_type, explode_outer(filter(nodes, n -> n.field = 'tasks')) AS node
  FROM seed_paths WHERE setting = 'single' AND reject_reason IS NULL
  UNION ALL
  SELECT 'training set', t.document_type, explode_outer(filter(w.nodes, n -> n.field = 'tasks'))
  FROM training_set t
  JOIN samples s ON s.id = t.sample
  LEFT JOIN walks w ON w.id = s.walk_id
  WHERE t.reject_reason IS NULL
),
counted AS (
  SELECT side, document_type, coalesce(node.value, '(none)') AS task, count(*) AS n_rows FROM asked
  GROUP BY side, document_type, coalesce(node.value, '(none)')
)
SELECT side, document_type, task, n_rows, n_rows / sum(n_rows) OVER (PARTITION BY side) AS share,
       sum(n_rows) OVER (PARTITION BY side, document_type) AS type_rows
FROM counted
ORDER BY side, type_rows DESC, document_type, n_rows DESC, task
