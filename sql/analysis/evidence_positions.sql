-- Where in the documents does the evidence lie: everywhere, or at the beginning?
-- By tenths of the document, at the middle of each span; every document of every row counts.
WITH spans AS (
  SELECT t.setting, e.doc_id, (e.start + e.end) / 2 AS middle, s.documents
  FROM training_set t JOIN samples s ON s.id = t.sample LATERAL VIEW explode(s.evidence) x AS e
  WHERE t.reject_reason IS NULL
),
placed AS (
  SELECT setting, least(10, 1 + int(floor(10 * middle / (d.end - d.start)))) AS decile
  FROM (SELECT setting, middle, get(filter(documents, d -> d.doc_id = spans.doc_id), 0) AS d FROM spans)
  WHERE d.end > d.start
)
SELECT setting, decile, count(*) AS spans, count(*) / sum(count(*)) OVER (PARTITION BY setting) AS share
FROM placed
GROUP BY setting, decile
ORDER BY setting, decile
