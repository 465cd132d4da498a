-- One row per walk: the instruction written from it.
walk STRING COMMENT 'id of the walk',
setting STRING COMMENT 'single or multi',
document_type STRING COMMENT 'label of the type',
walk_index BIGINT COMMENT 'position in the fixed order',
instruction STRING COMMENT 'what a user would ask',
signature ARRAY<BIGINT> COMMENT 'MinHash signature',
bands ARRAY<BIGINT> COMMENT 'LSH band keys',
call_id STRING COMMENT 'row of llm_calls',
teacher STRING COMMENT 'teacher that answered',
model STRING COMMENT 'model that answered',
prompt_sha STRING COMMENT 'hash of the prompt text'
