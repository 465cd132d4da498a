-- One row per (setting, conversation): all its nodes, and the one-shot example it can serve as.
setting STRING COMMENT 'single or multi',
conversation STRING COMMENT 'id of the conversation',
document_type STRING COMMENT 'label of the type',
nodes ARRAY<STRUCT<field: STRING, value: STRING, node: STRING>> COMMENT 'its distinct canonical values, by field and value',
instruction STRING COMMENT 'simplified instruction; rewritten in multi'
