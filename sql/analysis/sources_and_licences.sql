-- Which data sets did conversations and documents come from, under which licences, and how much of each is in?
-- Documents of the training set count once a row; tokens are the documents' own.
WITH origins AS (
  SELECT 'conversations' AS side, source, licence, n_tokens FROM long_conversations WHERE reject_reason IS NULL
  UNION ALL SELECT 'documents', source, licence, n_tokens FROM long_documents WHERE reject_reason IS NULL
  UNION ALL
  SELECT 'training set', d.source, d.licence, d.n_tokens
  FROM training_set t JOIN samples s ON s.id = t.sample LATERAL VIEW explode(s.documents) e AS d
  WHERE t.reject_reason IS NULL
)
SELECT side, coalesce(source, '(not stated)') AS source, coalesce(licence, '(not stated)') AS licence,
       count(*) AS n_rows, count(*) / sum(count(*)) OVER (PARTITION BY side) AS share, sum(n_tokens) AS tokens
FROM origins
GROUP BY side, coalesce(source, '(not stated)'), coalesce(licence, '(not stated)')
ORDER BY side, n_rows DESC, source, licence
