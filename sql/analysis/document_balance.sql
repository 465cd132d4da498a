-- In rows with several documents, does the answer rest on all of them?
-- By tenths of the evidence that lies in the document with the least; with two documents 0.5 is even.
WITH least_shares AS (
  SELECT t.setting, array_min(transform(s.document_shares, d -> d.share)) AS least_share
  FROM training_set t JOIN samples s ON s.id = t.sample
  WHERE t.reject_reason IS NULL AND size(s.documents) > 1
)
SELECT setting, floor(10 * round(least_share, 9)) / 10 AS share_from, count(*) AS n_rows,
       count(*) / sum(count(*)) OVER (PARTITION BY setting) AS share, avg(least_share) AS mean_least_share
FROM least_shares
GROUP BY ALL
ORDER BY setting, share_from
