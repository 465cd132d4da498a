-- Are the answers grounded in their documents, and how many were turned away because they are not?
-- `grounded_share`: answer sentences that rest on located evidence, mean over accepted rows. `exact_share`: spans that
-- stand in the document letter for letter.
SELECT setting, document_type, count(*) AS answered, count_if(reject_reason IS NULL) AS accepted,
       avg(grounded_share) FILTER (WHERE reject_reason IS NULL) AS grounded_share,
       try_divide(count_if(reject_reason IS NULL AND grounded_share >= 1), count_if(reject_reason IS NULL)) AS whole_share,
       avg(size(evidence)) FILTER (WHERE reject_reason IS NULL) AS spans_per_row,
       try_divide(sum(size(filter(evidence, e -> e.exact))) FILTER (WHERE reject_reason IS NULL),
                  sum(size(evidence)) FILTER (WHERE reject_reason IS NULL)) AS exact_share,
       count_if(reject_reason = 'ungrounded') AS ungrounded, count_if(reject_reason = 'no_evidence') AS no_evidence,
       count_if(reject_reason = 'one_sided') AS one_sided, count_if(reject_reason = 'unanswerable') AS unanswerable
FROM samples
GROUP BY setting, document_type
ORDER BY setting, answered DESC, document_type
