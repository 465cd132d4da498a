-- Is the mix of document types that of the conversations, and where is it not?
-- `documents` are those that the classifier gave the type; `difference` is the selected share less the conversations'.
WITH source AS (
  SELECT setting, document_type, count(*) AS conversations FROM seed_paths
  WHERE reject_reason IS NULL GROUP BY setting, document_type
),
made AS (
  SELECT setting, document_type, count(*) AS accepted, count_if(reject_reason IS NULL) AS selected FROM training_set
  GROUP BY setting, document_type
),
typed AS (
  SELECT document_type, count(*) AS documents FROM typed_documents WHERE reject_reason IS NULL GROUP BY document_type
),
joined AS (
  SELECT setting, document_type, coalesce(conversations, 0) AS conversations, coalesce(documents, 0) AS documents,
         coalesce(accepted, 0) AS accepted, coalesce(selected, 0) AS selected
  FROM source FULL OUTER JOIN made USING (setting, document_type) LEFT JOIN typed USING (document_type)
),
shared AS (
  SELECT *, try_divide(conversations, sum(conversations) OVER (PARTITION BY setting)) AS conversation_share,
         try_divide(selected, sum(selected) OVER (PARTITION BY setting)) AS selected_share
  FROM joined
)
SELECT setting, document_type, conversations, conversation_share, documents, accepted, selected, selected_share,
       selected_share - conversation_share AS difference
FROM shared
ORDER BY setting, conversations DESC, document_type
