-- fail: a kept row lacks its document type or instruction
SELECT * FROM {rows}
WHERE reject_reason IS NULL AND (coalesce(document_type[0], '') = '' OR coalesce(simplified_instruction[0], '') = '');

-- warn: conversations without any task cannot stand in the graph of tasks
SELECT * FROM {rows} WHERE reject_reason IS NULL AND size(tasks) = 0;
