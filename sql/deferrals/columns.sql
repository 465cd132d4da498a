-- One row per input that must wait, and pass; a null reason closes it.
stage STRING COMMENT 'stage it waits for',
epoch INT COMMENT 'epoch of the stage',
input_id STRING COMMENT 'row of the driving table',
reason STRING COMMENT 'why',
pass INT COMMENT 'how often it was tried'
