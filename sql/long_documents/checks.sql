-- fail: a kept document has no token count
SELECT * FROM {rows} WHERE reject_reason IS NULL AND n_tokens IS NULL;
