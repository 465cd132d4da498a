-- Accepted samples in a fixed order that keeps the type mix at every length, without their texts: the first of each
-- setting, as many as asked, are candidates; the rest are over_target. Targets are those of the main job alone.
WITH placed AS (
  SELECT id, setting, paradigm, document_type, walk_index,
         lengths.context + lengths.instruction + lengths.response AS n_tokens,
         (row_number() OVER (PARTITION BY setting, document_type ORDER BY walk_index, id) - 0.5)
           / count(*) OVER (PARTITION BY setting, document_type) AS rank_in_type
  FROM {samples} WHERE reject_reason IS NULL
),
ordered AS (
  SELECT *, row_number() OVER (PARTITION BY setting ORDER BY rank_in_type, document_type, id) AS position FROM placed
)
SELECT id, setting, document_type, bigint(position) AS position, n_tokens,
       paradigm = 'wildlong' AND position > CASE setting WHEN 'single' THEN :single ELSE :multi END AS over_target
FROM ordered
