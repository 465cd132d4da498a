-- One row per long document: mean of the last hidden state over evenly spaced chunks.
document STRING COMMENT 'id of the document',
vector ARRAY<FLOAT> COMMENT 'unit vector',
embedder STRING COMMENT 'identity of the encoder'
