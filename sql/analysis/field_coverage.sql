-- How often does each of the thirteen fields have a value, and how varied are the values?
-- Values are the teacher's own words without regard to case; after merging they are fewer (field_values).
WITH fields AS (
  SELECT id, field, array_distinct(transform(filter(held, v -> trim(v) <> ''), v -> lower(trim(v)))) AS held
  FROM meta_records LATERAL VIEW stack(13,
    'document_type', document_type, 'tasks', tasks, 'user_intention', user_intention, 'user_profile', user_profile,
    'language_style', language_style, 'context', context, 'user_knowledge', user_knowledge,
    'chatbot_knowledge', chatbot_knowledge, 'long_context_capability', long_context_capability,
    'output_format', output_format, 'sentiment', sentiment, 'constraint', constraint,
    'simplified_instruction', simplified_instruction) AS field, held
  WHERE reject_reason IS NULL
),
varied AS (
  SELECT field, count(DISTINCT value) AS distinct_values FROM fields LATERAL VIEW explode(held) e AS value GROUP BY field
)
SELECT field, count(*) AS conversations, count_if(size(held) > 0) AS with_value,
       count_if(size(held) > 0) / count(*) AS coverage, avg(greatest(size(held), 0)) AS mean_values,
       coalesce(max(distinct_values), 0) AS distinct_values
FROM fields LEFT JOIN varied USING (field)
GROUP BY field
ORDER BY coverage DESC, field
