-- One row per source document, normalised; what could not be read is kept with its reason.
source_file STRING COMMENT 'id of the file it was first seen in',
path STRING COMMENT 'that file',
position BIGINT COMMENT 'line or row in it, from 0',
content_hash STRING COMMENT 'sha256 of the text',
text STRING COMMENT 'the document',
source STRING COMMENT 'data set name',
licence STRING COMMENT 'licence, where given',
language STRING COMMENT 'language, where given',
meta STRING COMMENT 'what else the source says, JSON'
