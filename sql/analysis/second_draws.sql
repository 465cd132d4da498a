-- How many answers were drawn a second time, and how many rows came of it?
-- Rows whose first answer failed the gates and was asked for once more (`evidence.second_draw`). `saved`: the second
-- answer stands and is accepted; `failed_twice`: neither passed. Each cost one more call on the same documents.
SELECT setting, document_type, count(*) AS answered, count(other_call) AS drawn_twice,
       count_if(draw = 2 AND reject_reason IS NULL) AS saved,
       count_if(other_call IS NOT NULL AND reject_reason IS NOT NULL) AS failed_twice,
       count_if(draw = 2 AND reject_reason IS NULL) / count(other_call) AS saved_share
FROM samples
GROUP BY setting, document_type
HAVING count(other_call) > 0
ORDER BY setting, drawn_twice DESC, document_type
