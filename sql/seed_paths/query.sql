-- Each conversation's full path per setting: its distinct canonical values, and the instruction it can lend.
-- In `multi` the task values and the instruction are the rewritten ones; while one is missing the row waits. One that
-- is there but null (refused, or without a word) leaves its value out.
WITH mapped AS (
  SELECT t.id AS input_id, t.conversation, t.document_type, v.field, v.value AS found, c.canonical AS value
  FROM {conversation_types} t
  JOIN {field_values} v ON v.conversation = t.conversation
  JOIN {canonical_values} c ON c.document_type = t.document_type AND c.field = v.field AND c.value = v.value
),
rewrites AS (
  SELECT document_type, field, value, min(rewritten) AS rewritten, true AS known
  FROM {task_rewrites} GROUP BY document_type, field, value
),
settings AS (
  SELECT 'single' AS setting, m.*, m.value AS placed, false AS waits FROM mapped m
  UNION ALL
  SELECT 'multi', m.*,
         CASE WHEN m.field IN ('tasks', 'simplified_instruction') THEN r.rewritten ELSE m.value END,
         m.field IN ('tasks', 'simplified_instruction') AND r.known IS NULL
  FROM mapped m
  LEFT JOIN rewrites r ON r.document_type = m.document_type AND r.field = m.field AND r.value = m.found
)
SELECT setting, input_id, conversation, document_type,
       sort_array(collect_set(struct(field, placed AS value)) FILTER (
         WHERE field <> 'simplified_instruction' AND placed IS NOT NULL)) AS pairs,
       min(placed) FILTER (WHERE field = 'simplified_instruction') AS instruction,
       bool_or(waits) AS waits
FROM settings
GROUP BY setting, input_id, conversation, document_type
