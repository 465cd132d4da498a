-- Are the instructions of the training set different from each other?
-- distinct_n: different word n-grams over all word n-grams (1 means none repeats; it falls as rows are added).
-- near_duplicate_share: of all instructions written, those rejected for repeating another.
WITH chosen AS (
  SELECT t.setting, s.instruction,
         filter(split(lower(s.instruction), r'[^\p{L}\p{N}]+'), w -> w <> '') AS words
  FROM training_set t JOIN samples s ON s.id = t.sample WHERE t.reject_reason IS NULL
),
grams AS (
  SELECT setting, n, gram, count(*) AS times
  FROM (SELECT *, explode(array(1, 2, 3)) AS n FROM chosen)
  LATERAL VIEW explode(
    if(size(words) >= n, transform(sequence(1, size(words) - n + 1), i -> array_join(slice(words, i, n), ' ')),
       array())) e AS gram
  GROUP BY setting, n, gram
),
diverse AS (
  SELECT setting, count_if(n = 1) / sum(if(n = 1, times, 0)) AS distinct_1,
         try_divide(count_if(n = 2), sum(if(n = 2, times, 0))) AS distinct_2,
         try_divide(count_if(n = 3), sum(if(n = 3, times, 0))) AS distinct_3
  FROM grams GROUP BY setting
),
selected AS (
  SELECT setting, count(*) AS n_rows, count(DISTINCT lower(instruction)) / count(*) AS unique_share,
         avg(size(words)) AS mean_words
  FROM chosen GROUP BY setting
),
written AS (
  SELECT setting, count(*) AS written,
         count_if(reject_reason LIKE '%duplicate%') / count(*) AS near_duplicate_share
  FROM instructions GROUP BY setting
)
SELECT setting, n_rows, mean_words, unique_share, distinct_1, distinct_2, distinct_3, written, near_duplicate_share
FROM selected LEFT JOIN diverse USING (setting) LEFT JOIN written USING (setting)
ORDER BY setting
