-- How far apart do the pieces of evidence of one row lie in its context?
-- From the beginning of the first span to the end of the last, in characters, by tenths of the context; rows with one
-- span stand by themselves.
WITH placed AS (
  SELECT t.setting, s.id, get(s.documents, size(s.documents) - 1).end AS context_end, e.start, e.end,
         get(filter(s.documents, d -> d.doc_id = e.doc_id), 0).start AS offset
  FROM training_set t JOIN samples s ON s.id = t.sample LATERAL VIEW explode(s.evidence) x AS e
  WHERE t.reject_reason IS NULL
),
extents AS (
  SELECT setting, id, count(*) AS spans, max(offset + end) - min(offset + start) AS distance,
         max(context_end) AS context_end
  FROM placed GROUP BY setting, id
)
SELECT setting, CASE WHEN spans = 1 THEN 0 ELSE least(10, 1 + int(floor(10 * distance / context_end))) END AS decile,
       count(*) AS n_rows, count(*) / sum(count(*)) OVER (PARTITION BY setting) AS share,
       bigint(median(distance)) AS median_characters
FROM extents
GROUP BY ALL
ORDER BY setting, decile
