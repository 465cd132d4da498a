-- Accepted samples in a fixed order that keeps the type mix at every length: the first of each setting, as many
-- as asked, are in; the rest are over_target.
WITH placed AS (
  SELECT s.*,
         (row_number() OVER (PARTITION BY setting, document_type ORDER BY walk_index, id) - 0.5)
           / count(*) OVER (PARTITION BY setting, document_type) AS rank_in_type
  FROM {samples} s WHERE s.reject_reason IS NULL
),
ordered AS (
  SELECT p.*, row_number() OVER (PARTITION BY setting ORDER BY rank_in_type, document_type, id) AS position
  FROM placed p
)
SELECT array(id) AS parent_ids, id AS sample, setting, paradigm, document_type, bigint(position) AS position, messages,
       lengths.context + lengths.instruction + lengths.response AS n_tokens,
       transform(documents, d -> d.doc_id) AS documents, generator.teacher AS teacher,
       CASE WHEN position > CASE setting WHEN 'single' THEN :single ELSE :multi END THEN 'over_target' END AS reject_reason
FROM ordered
