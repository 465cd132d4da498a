-- Which languages went in, and which are in the training set?
WITH spoken AS (
  SELECT 'conversations' AS side, language FROM long_conversations WHERE reject_reason IS NULL
  UNION ALL SELECT 'documents', language FROM long_documents WHERE reject_reason IS NULL
  UNION ALL
  SELECT 'training set', s.language FROM training_set t JOIN samples s ON s.id = t.sample WHERE t.reject_reason IS NULL
)
SELECT side, coalesce(language, '(unknown)') AS language, count(*) AS n_rows,
       count(*) / sum(count(*)) OVER (PARTITION BY side) AS share
FROM spoken
GROUP BY side, coalesce(language, '(unknown)')
ORDER BY side, n_rows DESC, language
