-- One row per thing that was forgotten, by hash: no text. A row with such an id is never written again as it was.
subject_table STRING COMMENT 'source_files, conversations, documents or walks',
subject STRING COMMENT 'id of the row that was forgotten',
asked STRING COMMENT 'id it was asked for by: its own, its file, or a row made from it',
forgotten_at TIMESTAMP COMMENT 'when; run_id says in which run',
stale MAP<STRING, INT> COMMENT 'fitted tables that had seen it, with the epoch they were in'
