-- fail: an edge joins two values of one field
SELECT * FROM {rows} WHERE source_field = target_field;

-- fail: a count of nothing
SELECT * FROM {rows} WHERE count = 0;
