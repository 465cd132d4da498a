-- One row per document annotated by the teacher with one of the document types.
document STRING COMMENT 'id of the document',
label STRING COMMENT 'label of a document type',
call_id STRING COMMENT 'row of llm_calls',
teacher STRING COMMENT 'teacher that answered',
model STRING COMMENT 'model that answered',
prompt_sha STRING COMMENT 'hash of the prompt text'
