-- One row per pair of values seen in one conversation, and batch; the sum of counts is the graph.
batch STRING COMMENT 'epoch and batch that counted',
setting STRING COMMENT 'single or multi',
document_type STRING COMMENT 'label of the type',
source STRING COMMENT 'node, smaller by (field, node)',
target STRING COMMENT 'node of another field',
source_field STRING COMMENT 'field of the source',
target_field STRING COMMENT 'field of the target',
count BIGINT COMMENT 'conversations'
