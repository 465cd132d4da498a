-- How many answers can be given with their documents, and how many without them, as the teacher judges it?
-- Accepted rows with a verdict (`evidence.answerability`). `with_share` and `without_share`: of them, those that the
-- documents suffice for, and those that need none; `both_share`: both at once, so that the documents add nothing.
SELECT setting, document_type, count(*) AS accepted, count(answerable_with) AS judged,
       avg(CAST(answerable_with AS INT)) AS with_share, avg(CAST(answerable_without AS INT)) AS without_share,
       avg(CAST(answerable_with AND answerable_without AS INT)) AS both_share
FROM samples
WHERE reject_reason IS NULL
GROUP BY setting, document_type
HAVING count(answerable_with) > 0
ORDER BY setting, judged DESC, document_type
