-- What is taken of the candidates. They are placed by rank of score (or in their fixed order); to keep the mix, the
-- k-th best of a (setting, type) with n candidates stands at (k - 1/2) / n, so that any first part of the order holds
-- every type by its share (Webster's method). A candidate is in when it is within every limit; limits that count
-- places do not count who is out by its score. A norm of the paper is told as the paper's only where the short model
-- read all that the long one did.
WITH scored AS (
  SELECT c.*, i.id AS influence, i.truncated, i.measured_by, i.number_type, s.hmp, s.cas, s.score, round(s.score, 12) AS by_score,
         coalesce(i.short_context_tokens < i.context_tokens, false) AS less_context,
         CASE WHEN c.over_target THEN 'over_target'
              WHEN :by = 'influence' AND s.id IS NULL THEN concat_ws(':', 'not_measured', i.reject_reason) END AS outside
  FROM {candidates} c LEFT JOIN {influence} i ON i.sample = c.id LEFT JOIN {scores} s ON s.id = c.id
),
ranked AS (
  SELECT *, bool_or(score IS NOT NULL AND less_context) OVER () AS windowed,
         CASE WHEN score IS NOT NULL THEN row_number() OVER (ORDER BY by_score DESC NULLS LAST, id) END AS rank,
         count_if(outside IS NULL) OVER () AS pool,
         (row_number() OVER (PARTITION BY outside IS NULL, setting, document_type
                             ORDER BY by_score DESC NULLS LAST, position, id) - 0.5)
           / nullif(count_if(outside IS NULL) OVER (PARTITION BY setting, document_type), 0) AS rank_in_type,
         coalesce(outside, CASE WHEN score < double(:min_score) THEN 'not_selected:min_score' END) AS refused
  FROM scored
),
placed AS (
  SELECT *, CASE WHEN refused IS NULL THEN row_number() OVER (
              PARTITION BY refused IS NULL
              ORDER BY if(:keep_mix, rank_in_type, 0), by_score DESC NULLS LAST, position, setting, id) END AS place
  FROM ranked
),
limited AS (
  SELECT *, CASE WHEN place > ceil(:top_share * pool) THEN 'top_share'
                 WHEN place > :top_count THEN 'top_count'
                 WHEN sum(n_tokens) OVER (PARTITION BY refused IS NULL ORDER BY place
                        ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) > :token_budget THEN 'token_budget' END AS beyond
  FROM placed
)
SELECT id AS sample, influence, position, bigint(rank) AS rank, bigint(place) AS place, score, hmp, cas, truncated, measured_by, number_type, n_tokens,
       CASE WHEN refused IS NULL AND beyond IS NULL THEN concat(
         if(rank IS NULL, concat('place ', place), concat('rank ', rank, ' by score (norm ', :norm,
              if(windowed AND :norm IN ('paper', 'reference'), ' over a short window, not as in the paper', ''), '), place ', place)),
         ' of ', pool, ' candidates', if(:keep_mix, ' in their mix of types', '')) END AS selected_because,
       coalesce(refused, concat('not_selected:', beyond)) AS reject_reason
FROM limited
