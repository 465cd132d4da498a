-- GATEAU's scores (arXiv 2410.15633, section 3) of measured samples; norms change here, nothing is measured again.
--   HMP (Eq. 2): how much the long context helps B more than A; CAS (Eq. 5): how attention to segments (Attn, Eq. 4)
--   agrees with what each alone explains (IS, Eq. 3); Score (Eq. 6): both, weighed by alpha (a).
--   High segment perplexity means an unimportant segment, so high CAS means attention on unimportant ones: a hard sample.
--   paper      Eq. 2-6 as printed, every Norm a softmax: HMP = softmax(PPL_A) - softmax(PPL_B) over the pool,
--              CAS = cosine(softmax(IS), softmax(Attn)) over segments, Score = a softmax(HMP) + (1-a) softmax(CAS)
--   reference  what the public code means: min-max for the perplexities, softmax for HMP alone, CAS as it is
--   zscore     HMP = log PPL_A - log PPL_B, CAS = Pearson's correlation of log IS and Attn, z-scores of both
--   rank       HMP as before, CAS = Spearman's correlation, rank percentiles of both, ties by id
-- A correlation over one segment, or over equal values, says nothing and counts as 0. Attn is per token of the segment.
WITH measured AS (
  SELECT *, CASE WHEN :per_type THEN document_type END AS pool, exp(short_log_ppl) AS short_ppl,
         exp(long_log_ppl) AS long_ppl
  FROM {influence} WHERE reject_reason IS NULL
),
segments AS (
  SELECT id, s.at, s.log_ppl, exp(s.log_ppl) AS ppl, s.mass / s.tokens AS attention
  FROM measured LATERAL VIEW inline(transform(segment_log_ppl, (p, i) ->
         named_struct('at', i, 'log_ppl', p, 'mass', segment_attention[i], 'tokens', segment_tokens[i]))) s
),
ranked AS (
  SELECT *, max(ppl) OVER (whole) AS top_ppl, max(attention) OVER (whole) AS top_attention,
         rank() OVER (PARTITION BY id ORDER BY ppl)
           + (count(*) OVER (PARTITION BY id, ppl) - 1) / 2 AS ppl_rank,
         rank() OVER (PARTITION BY id ORDER BY attention)
           + (count(*) OVER (PARTITION BY id, attention) - 1) / 2 AS attention_rank
  FROM segments WINDOW whole AS (PARTITION BY id)
),
weighed AS (  -- softmax without its sum, which a cosine does not see
  SELECT *, exp(ppl - top_ppl) AS p, exp(attention - top_attention) AS a FROM ranked
),
agreement AS (
  SELECT id, CASE :norm
           WHEN 'rank' THEN try_divide(covar_pop(ppl_rank, attention_rank), stddev_pop(ppl_rank) * stddev_pop(attention_rank))
           WHEN 'zscore' THEN try_divide(covar_pop(log_ppl, attention), stddev_pop(log_ppl) * stddev_pop(attention))
           ELSE sum(p * a) / sqrt(sum(p * p) * sum(a * a)) END AS raw
  FROM weighed GROUP BY id
),
scaled AS (
  SELECT m.*, round(coalesce(raw, 0), 9) AS cas,
         exp(short_ppl - max(short_ppl) OVER (pooled)) AS short_weight,
         exp(long_ppl - max(long_ppl) OVER (pooled)) AS long_weight
  FROM measured m JOIN agreement USING (id) WINDOW pooled AS (PARTITION BY pool)
),
terms AS (
  SELECT *, CASE :norm
           WHEN 'paper' THEN short_weight / sum(short_weight) OVER (pooled) - long_weight / sum(long_weight) OVER (pooled)
           WHEN 'reference' THEN
             coalesce((short_ppl - min(short_ppl) OVER (pooled))
               / nullif(max(short_ppl) OVER (pooled) - min(short_ppl) OVER (pooled), 0), 0)
             - coalesce((long_ppl - min(long_ppl) OVER (pooled))
               / nullif(max(long_ppl) OVER (pooled) - min(long_ppl) OVER (pooled), 0), 0)
           ELSE short_log_ppl - long_log_ppl END AS hmp
  FROM scaled WINDOW pooled AS (PARTITION BY pool)
),
normed AS (
  SELECT *, CASE :norm
           WHEN 'rank' THEN (row_number() OVER (PARTITION BY pool ORDER BY hmp, id) - 0.5D) / count(*) OVER (pooled)
           WHEN 'zscore' THEN coalesce((hmp - avg(hmp) OVER (pooled)) / nullif(stddev_pop(hmp) OVER (pooled), 0), 0)
           ELSE exp(hmp - max(hmp) OVER (pooled)) END AS hmp_norm,
         CASE :norm
           WHEN 'rank' THEN (row_number() OVER (PARTITION BY pool ORDER BY cas, id) - 0.5D) / count(*) OVER (pooled)
           WHEN 'zscore' THEN coalesce((cas - avg(cas) OVER (pooled)) / nullif(stddev_pop(cas) OVER (pooled), 0), 0)
           WHEN 'paper' THEN exp(cas - max(cas) OVER (pooled))
           ELSE cas END AS cas_norm
  FROM terms WINDOW pooled AS (PARTITION BY pool)
),
summed AS (
  SELECT * EXCEPT (hmp_norm, cas_norm),
         CASE WHEN :norm IN ('paper', 'reference') THEN hmp_norm / sum(hmp_norm) OVER (pooled) ELSE hmp_norm END AS hmp_norm,
         CASE WHEN :norm = 'paper' THEN cas_norm / sum(cas_norm) OVER (pooled) ELSE cas_norm END AS cas_norm
  FROM normed WINDOW pooled AS (PARTITION BY pool)
),
scored AS (
  SELECT *, double(:alpha) * hmp_norm + (1 - double(:alpha)) * cas_norm AS score FROM summed
)
SELECT id, document_type, hmp, cas, hmp_norm, cas_norm, score,
       bigint(row_number() OVER (PARTITION BY pool ORDER BY round(score, 12) DESC, id)) AS position,
       windowed_log_ppl - long_log_ppl AS window_gap,
       exp(long_log_ppl - unasked_log_ppl) AS ifd,
       long_log_ppl AS perplexity,
       pmod(xxhash64(id, bigint(:seed)), 1000000007) / 1000000007D AS random,
       double(context_tokens) AS length
FROM scored
