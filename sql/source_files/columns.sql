-- One row per input file and content; a file whose content changes becomes a new row. A content that the file does not
-- have any more, or not there, has no mtime_ns; one that could not be hashed yet has no content_hash.
path STRING COMMENT 'where the file was read',
kind STRING COMMENT 'conversations or documents',
format STRING COMMENT 'how it is read, told by extension and shape',
size BIGINT COMMENT 'bytes',
mtime_ns BIGINT COMMENT 'modification time, nanoseconds since the epoch',
content_hash STRING COMMENT 'sha256 of the bytes'
