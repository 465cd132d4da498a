-- One row per accepted sample: selected ones have no reject reason, the others say why they are out.
sample STRING COMMENT 'id of the sample',
setting STRING COMMENT 'single or multi',
paradigm STRING COMMENT 'how it was made',
document_type STRING COMMENT 'label of the type',
position BIGINT COMMENT 'place in the fixed order of its setting, from 1',
messages ARRAY<STRUCT<role: STRING, content: STRING>> COMMENT 'chat form',
n_tokens BIGINT COMMENT 'tokens of context, instruction and response',
documents ARRAY<STRING> COMMENT 'ids of the documents',
teacher STRING COMMENT 'teacher that wrote it'
