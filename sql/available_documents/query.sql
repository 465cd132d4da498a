-- Documents that may be drawn for a sample now: of a known type and a fitting length, not in a sample that
-- was accepted or is under way, and drawn fewer than :max_draws times in this setting.
WITH spread AS (SELECT id, setting, explode(documents) AS document FROM {pairings}),
drawn AS (
  SELECT p.setting, p.document, count(*) AS draws,
         bool_or(s.id IS NULL OR s.reject_reason IS NULL) AS in_use
  FROM spread p
  LEFT JOIN {samples} s ON s.pairing = p.id
  GROUP BY p.setting, p.document
),
fitting AS (
  SELECT g.setting, t.document_type, t.document, l.id AS long_document
  FROM {typed_documents} t
  JOIN {long_documents} l ON l.document = t.document
  CROSS JOIN (SELECT explode(array('single', 'multi')) AS setting) g
  WHERE t.reject_reason IS NULL AND l.reject_reason IS NULL AND (g.setting = 'single' OR l.fits_pair)
)
SELECT f.setting, f.document_type, f.document, f.long_document, coalesce(d.draws, 0) AS draws
FROM fitting f
LEFT JOIN drawn d ON d.setting = f.setting AND d.document = f.document
WHERE coalesce(d.draws, 0) < :max_draws AND NOT coalesce(d.in_use, false)
