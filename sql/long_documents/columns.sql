-- One row per readable document: what the length and hygiene rules said of it.
document STRING COMMENT 'id of the document',
n_tokens BIGINT COMMENT 'exact tokens; null when an earlier rule failed',
fits_pair BOOLEAN COMMENT 'short enough to be one of two documents',
language STRING COMMENT 'ISO 639-1 code, stated or detected',
duplicate_key STRING COMMENT 'sha256 of the text without case and spacing',
signature ARRAY<BIGINT> COMMENT 'MinHash signature',
bands ARRAY<BIGINT> COMMENT 'LSH band keys',
source STRING COMMENT 'data set name',
licence STRING COMMENT 'licence, where given'
