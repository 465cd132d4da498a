-- One row per document type: a K-Means cluster of free-form types, named by the teacher. Frozen until --refit.
version INT COMMENT 'grows with each refit',
type_index INT COMMENT 'order by size, from 0',
label STRING COMMENT 'name of the type',
centroid ARRAY<FLOAT> COMMENT 'unit vector of the cluster',
size BIGINT COMMENT 'conversations in the fit',
share DOUBLE COMMENT 'their share of the fit',
examples ARRAY<STRING> COMMENT 'free-form types nearest to the centroid',
embedder STRING COMMENT 'identity of the encoder',
teacher STRING COMMENT 'teacher that named it',
model STRING COMMENT 'model that named it'
