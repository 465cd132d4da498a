-- fail: an evidence span lies outside its document
SELECT * FROM {rows}
WHERE reject_reason IS NULL AND exists(evidence, e -> e.start < 0 OR e.end <= e.start);

-- fail: an accepted sample lacks context, instruction or response
SELECT * FROM {rows}
WHERE reject_reason IS NULL AND (coalesce(context, '') = '' OR coalesce(instruction, '') = '' OR coalesce(response, '') = '');

-- fail: a multi-document sample does not have two documents
SELECT * FROM {rows} WHERE reject_reason IS NULL AND setting = 'multi' AND size(documents) <> 2;
