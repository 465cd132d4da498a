-- Where each (setting, document type) stands between two rounds.
WITH kinds AS (
  SELECT setting, document_type, count(*) AS conversations,
         count(*) / sum(count(*)) OVER (PARTITION BY setting) AS share
  FROM {seed_paths} WHERE reject_reason IS NULL GROUP BY setting, document_type
),
walked AS (
  SELECT setting, document_type, max(walk_index) + 1 AS next_walk FROM {walks} GROUP BY setting, document_type
),
unpaired AS (
  SELECT i.setting, i.document_type, count(*) AS instructions
  FROM {instructions} i LEFT ANTI JOIN {pairings} p ON p.instruction = i.id
  WHERE i.reject_reason IS NULL GROUP BY i.setting, i.document_type
),
answered AS (
  SELECT setting, document_type, count(*) AS answered, count_if(reject_reason IS NULL) AS accepted
  FROM {samples} GROUP BY setting, document_type
),
supply AS (
  SELECT setting, document_type, count(*) AS documents FROM {available} GROUP BY setting, document_type
)
SELECT k.setting, k.document_type, double(k.share) AS share,
       int(coalesce(a.accepted, 0)) AS accepted, int(coalesce(a.answered, 0)) AS answered,
       int(coalesce(u.instructions, 0)) AS instructions,
       int(coalesce(w.next_walk, 0)) AS next_walk, int(coalesce(s.documents, 0)) AS documents
FROM kinds k
LEFT JOIN walked w ON w.setting = k.setting AND w.document_type = k.document_type
LEFT JOIN unpaired u ON u.setting = k.setting AND u.document_type = k.document_type
LEFT JOIN answered a ON a.setting = k.setting AND a.document_type = k.document_type
LEFT JOIN supply s ON s.setting = k.setting AND s.document_type = k.document_type
