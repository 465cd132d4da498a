-- One row per (setting, type, field, value) and batch; the sum of counts is the graph.
node STRING COMMENT 'hash of setting, type, field and value',
batch STRING COMMENT 'epoch and batch that counted',
setting STRING COMMENT 'single or multi',
document_type STRING COMMENT 'label of the type',
field STRING COMMENT 'field',
value STRING COMMENT 'canonical value',
count BIGINT COMMENT 'conversations'
