-- fail: a measured sample lacks a figure, or has one that is no number
SELECT * FROM {rows}
WHERE reject_reason IS NULL
  AND (coalesce(isnan(short_log_ppl) OR isnan(long_log_ppl) OR isnan(windowed_log_ppl), true)
       OR exists(segment_log_ppl, p -> isnan(p)) OR exists(segment_attention, a -> isnan(a))
       OR size(segment_log_ppl) <> size(segment_tokens) OR size(segment_attention) <> size(segment_tokens));

-- warn: contexts were longer than influence.max_tokens or the long model's window, and were measured without their head
SELECT * FROM {rows} WHERE truncated;

-- warn: samples could not be measured; the table influence has the reasons
SELECT * FROM {rows} WHERE reject_reason IS NOT NULL;
