-- fail: a kept conversation has no token count
SELECT * FROM {rows} WHERE reject_reason IS NULL AND n_tokens IS NULL;
