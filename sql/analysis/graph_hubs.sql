-- Which values are the hubs of each type's graph?
-- `degree` counts neighbours, `strength` the conversations behind the edges to them.
-- :top 5  hubs shown a setting and type
WITH joined AS (
  SELECT setting, document_type, source, target, sum(count) AS weight FROM edges
  GROUP BY setting, document_type, source, target HAVING sum(count) > 0
),
ends AS (SELECT setting, document_type, explode(array(source, target)) AS node, weight FROM joined),
degrees AS (
  SELECT setting, document_type, node, count(*) AS degree, sum(weight) AS strength FROM ends
  GROUP BY setting, document_type, node
),
named AS (SELECT node, field, value, sum(count) AS conversations FROM nodes GROUP BY node, field, value),
ranked AS (
  SELECT d.*, n.field, n.value, n.conversations, row_number() OVER (
           PARTITION BY d.setting, d.document_type ORDER BY degree DESC, strength DESC, n.field, n.value) AS place
  FROM degrees d JOIN named n ON n.node = d.node
)
SELECT setting, document_type, place, field, value, degree, strength, conversations
FROM ranked
WHERE place <= :top
ORDER BY setting, document_type, place
