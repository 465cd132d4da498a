-- One row per instruction given its document or documents, by quota and seeded order.
setting STRING COMMENT 'single or multi',
document_type STRING COMMENT 'label of the type',
walk STRING COMMENT 'id of the walk',
walk_index BIGINT COMMENT 'position in the fixed order',
instruction STRING COMMENT 'id of the instruction row',
documents ARRAY<STRING> COMMENT 'ids of the documents, in order',
draw INT COMMENT 'how often the most drawn of them was drawn before, plus 1'
