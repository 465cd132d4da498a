-- One row per conversation with meta information: its document type by nearest centroid.
conversation STRING COMMENT 'id of the conversation',
document_type STRING COMMENT 'label',
type_index INT COMMENT 'index of the type',
similarity DOUBLE COMMENT 'cosine to the centroid',
drifted BOOLEAN COMMENT 'further from every centroid than types.drift_similarity',
type_version INT COMMENT 'version of document_types'
