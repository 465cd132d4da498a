-- One row per long document: its type by the classifier.
document STRING COMMENT 'id of the document',
document_type STRING COMMENT 'label',
probability DOUBLE COMMENT 'share of trees',
classifier_version STRING COMMENT 'version of the classifier'
