-- How far is the mix of document types from that of the conversations, in one number a setting?
-- Jensen-Shannon distance, base 2: 0 for the same mix, 1 for mixes without a common type.
WITH source AS (
  SELECT setting, document_type, count(*) AS n FROM seed_paths WHERE reject_reason IS NULL
  GROUP BY setting, document_type
),
made AS (
  SELECT setting, document_type, count(*) AS n, count_if(reject_reason IS NULL) AS n_selected FROM training_set
  GROUP BY setting, document_type
),
mixes AS (
  SELECT setting, document_type,
         coalesce(s.n, 0) / sum(s.n) OVER (PARTITION BY setting) AS p,
         coalesce(m.n, 0) / sum(m.n) OVER (PARTITION BY setting) AS q_accepted,
         try_divide(coalesce(m.n_selected, 0), sum(m.n_selected) OVER (PARTITION BY setting)) AS q_selected
  FROM source s FULL OUTER JOIN made m USING (setting, document_type)
),
sides AS (
  SELECT setting, p, side, q
  FROM mixes LATERAL VIEW stack(2, 'accepted', q_accepted, 'selected', q_selected) AS side, q
  WHERE p IS NOT NULL AND q IS NOT NULL
),
distances AS (
  SELECT setting, side, sqrt(greatest(0D, sum(
           if(p > 0, p * log2(2 * p / (p + q)) / 2, 0D) + if(q > 0, q * log2(2 * q / (p + q)) / 2, 0D)))) AS distance
  FROM sides GROUP BY setting, side
)
SELECT setting, max(distance) FILTER (WHERE side = 'accepted') AS accepted_distance,
       max(distance) FILTER (WHERE side = 'selected') AS selected_distance
FROM distances
GROUP BY setting
ORDER BY setting
