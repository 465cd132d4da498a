-- One row per sighting of a record: the same text in two files is one record with two sightings.
record_table STRING COMMENT 'conversations or documents',
record STRING COMMENT 'id of the record',
path STRING COMMENT 'file',
position BIGINT COMMENT 'line or row in the file, from 0; -1 for the file as a whole'
