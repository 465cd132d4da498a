-- fail: two document types carry the same label
SELECT label FROM {rows} GROUP BY label HAVING count(*) > 1;
