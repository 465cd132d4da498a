-- One row per (document type, field, value): the value it counts as. A mapping once made stays until --refit.
document_type STRING COMMENT 'label of the type',
field STRING COMMENT 'one of the fields',
value STRING COMMENT 'value in normal form',
canonical STRING COMMENT 'value it counts as',
similarity DOUBLE COMMENT 'cosine to the canonical value; 1 for itself',
vector ARRAY<FLOAT> COMMENT 'embedding of the value'
