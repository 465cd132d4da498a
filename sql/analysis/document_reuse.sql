-- Do rows spread over many documents, or do a few documents carry the dataset?
WITH used AS (
  SELECT t.setting, document, count(*) AS n
  FROM training_set t LATERAL VIEW explode(t.documents) e AS document
  WHERE t.reject_reason IS NULL GROUP BY t.setting, document
)
SELECT setting, n AS rows_per_document, count(*) AS n_documents,
       count(*) / sum(count(*)) OVER (PARTITION BY setting) AS share
FROM used
GROUP BY setting, n
ORDER BY setting, n
