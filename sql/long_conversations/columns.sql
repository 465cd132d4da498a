-- One row per readable conversation: what the length and hygiene rules said of it.
conversation STRING COMMENT 'id of the conversation',
n_tokens BIGINT COMMENT 'exact tokens of what filter.count names; null when an earlier rule failed',
language STRING COMMENT 'ISO 639-1 code, stated or detected',
duplicate_key STRING COMMENT 'sha256 of the text without case and spacing',
signature ARRAY<BIGINT> COMMENT 'MinHash signature',
bands ARRAY<BIGINT> COMMENT 'LSH band keys',
source STRING COMMENT 'data set name',
licence STRING COMMENT 'licence, where given'
