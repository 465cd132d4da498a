-- Rows for the sample browser of the report, each with what it was made from: every row where there are few, else of
-- each status the first by hash, and the best and worst by score.
WITH placed AS (
  SELECT s.id, t.score,
         CASE WHEN s.reject_reason IS NOT NULL THEN 'rejected' WHEN t.sample IS NULL THEN 'not placed yet'
              WHEN t.reject_reason IS NULL THEN 'selected' ELSE 'accepted' END AS status,
         coalesce(s.reject_reason, t.reject_reason) AS reason
  FROM {samples} s LEFT JOIN {training_set} t ON t.sample = s.id
),
ranked AS (
  SELECT *, row_number() OVER (PARTITION BY status ORDER BY sha2(id, 256)) AS drawn,
         row_number() OVER (PARTITION BY status ORDER BY score DESC, id) AS best,
         row_number() OVER (PARTITION BY status ORDER BY score NULLS LAST, id) AS worst
  FROM placed
),
shown AS (
  SELECT id, status, reason FROM ranked
  WHERE drawn <= CASE status WHEN 'selected' THEN :selected ELSE :others END
     OR (score IS NOT NULL AND least(best, worst) <= :edges)
)
SELECT s.id, h.status, h.reason, s.setting, s.document_type, s.language, s.instruction, s.response, s.context,
       s.documents, s.evidence, s.grounded_share, s.lengths, s.generator, s.walk_id, s.call_id,
       s.answerable_with, s.answerable_without, s.answerable_why, s.draw,
       t.position, t.rank, t.score, t.hmp, t.cas, t.selected_because,
       w.nodes AS walk, w.overlap, w.novel, i.instruction AS draft,
       p.id AS seed_path, p.nodes AS seed_nodes, p.instruction AS seed_instruction,
       c.id AS conversation, left(c.user_text, :conversation) AS user_text, length(c.user_text) AS user_length,
       left(c.assistant_text, :conversation) AS assistant_text, c.path, c.position AS line
FROM shown h JOIN {samples} s ON s.id = h.id
LEFT JOIN {training_set} t ON t.sample = s.id
LEFT JOIN {walks} w ON w.id = s.walk_id
LEFT JOIN {instructions} i ON i.walk = s.walk_id
LEFT JOIN {seed_paths} p ON p.id = w.nearest_seed_path
LEFT JOIN {conversations} c ON c.id = p.conversation
ORDER BY s.setting DESC, t.position IS NULL, t.position, s.id
