-- What is this dataset, in a dozen numbers?
-- A row is a selected sample; `accepted` ones passed every gate and may be more. Tokens are of context, instruction and
-- response together.
WITH chosen AS (
  SELECT t.document_type, t.n_tokens, t.teacher, s.documents, s.language, s.grounded_share, s.evidence
  FROM training_set t JOIN samples s ON s.id = t.sample
  WHERE t.reject_reason IS NULL
),
used AS (SELECT count(DISTINCT d.doc_id) AS documents_used FROM chosen LATERAL VIEW explode(documents) e AS d),
of_rows AS (
  SELECT count(*) AS n_rows, coalesce(sum(n_tokens), 0) AS tokens, bigint(median(n_tokens)) AS median_tokens,
         count(DISTINCT document_type) AS types, count(DISTINCT language) AS languages,
         avg(grounded_share) AS grounded_share, avg(size(evidence)) AS evidence_spans,
         array_join(sort_array(collect_set(teacher)), ', ') AS teachers
  FROM chosen
),
made AS (SELECT count(*) AS answered, count_if(reject_reason IS NULL) AS accepted FROM samples),
read_conversations AS (SELECT count(*) AS conversations FROM conversations),
read_documents AS (SELECT count(*) AS documents FROM documents),
spent AS (SELECT count(*) AS calls, coalesce(sum(tokens_in + tokens_out), 0) AS call_tokens FROM llm_calls)
SELECT n_rows, accepted, answered, tokens, median_tokens, types, languages, grounded_share, evidence_spans, teachers,
       documents_used, documents, conversations, calls, call_tokens
FROM of_rows CROSS JOIN made CROSS JOIN used CROSS JOIN read_conversations CROSS JOIN read_documents CROSS JOIN spent
