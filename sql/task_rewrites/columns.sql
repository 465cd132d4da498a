-- One row per task value or simplified instruction: its form for several documents (WildLong, section 3.4).
document_type STRING COMMENT 'label of the type',
field STRING COMMENT 'tasks or simplified_instruction',
value STRING COMMENT 'value in normal form',
rewritten STRING COMMENT 'the same for several documents',
call_id STRING COMMENT 'row of llm_calls',
teacher STRING COMMENT 'teacher that answered',
model STRING COMMENT 'model that answered',
prompt_sha STRING COMMENT 'hash of the prompt text'
