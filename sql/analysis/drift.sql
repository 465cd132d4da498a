-- What has changed in the finished samples between two runs, or two versions of the table?
-- Reads two views: samples_before and samples_after. jobs/ask.py makes them (--set before=… --set after=…, each a Delta
-- version or the id of a run); in a catalog they are CREATE VIEW samples_before AS SELECT * FROM samples VERSION AS OF 3.
WITH finished AS (  -- columns by name: the table may have got one in between
  SELECT 'before' AS side, setting, reject_reason, document_type, grounded_share, size(evidence) AS spans,
         lengths.context AS context, lengths.instruction AS instruction, lengths.response AS response
  FROM samples_before
  UNION ALL
  SELECT 'after' AS side, setting, reject_reason, document_type, grounded_share, size(evidence) AS spans,
         lengths.context AS context, lengths.instruction AS instruction, lengths.response AS response
  FROM samples_after
),
facts AS (
  SELECT side, setting, 'rows' AS measure, 'answered' AS key, double(count(*)) AS value FROM finished GROUP BY side, setting
  UNION ALL
  SELECT side, setting, 'rows', 'accepted', double(count_if(reject_reason IS NULL)) FROM finished GROUP BY side, setting
  UNION ALL
  SELECT side, setting, 'share of answered', coalesce(regexp_replace(reject_reason, ':[0-9a-f]{32,}$', ''), 'accepted'),
         count(*) / sum(count(*)) OVER (PARTITION BY side, setting)
  FROM finished GROUP BY side, setting, coalesce(regexp_replace(reject_reason, ':[0-9a-f]{32,}$', ''), 'accepted')
  UNION ALL
  SELECT side, setting, 'share of accepted by type', document_type,
         count(*) / sum(count(*)) OVER (PARTITION BY side, setting)
  FROM finished WHERE reject_reason IS NULL GROUP BY side, setting, document_type
  UNION ALL
  SELECT side, setting, 'mean of accepted', name, avg(number)
  FROM finished LATERAL VIEW stack(5, 'tokens of context', double(context),
         'tokens of instruction', double(instruction), 'tokens of response', double(response),
         'grounded share', grounded_share, 'evidence spans', double(spans)) AS name, number
  WHERE reject_reason IS NULL GROUP BY side, setting, name
)
SELECT setting, measure, key, max(value) FILTER (WHERE side = 'before') AS before,
       max(value) FILTER (WHERE side = 'after') AS after,
       coalesce(max(value) FILTER (WHERE side = 'after'), 0) - coalesce(max(value) FILTER (WHERE side = 'before'), 0) AS change
FROM facts
GROUP BY setting, measure, key
ORDER BY setting, measure, key
