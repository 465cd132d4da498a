-- The co-occurrence graph of one type as far as it can be drawn: its strongest values, those of one walk, and the edges
-- between them.
WITH counted AS (
  SELECT node, field, value, sum(count) AS conversations FROM {nodes}
  WHERE setting = :setting AND document_type = :document_type GROUP BY node, field, value HAVING sum(count) > 0
),
joined AS (
  SELECT source, target, sum(count) AS weight FROM {edges}
  WHERE setting = :setting AND document_type = :document_type GROUP BY source, target HAVING sum(count) > 0
),
ends AS (SELECT explode(array(source, target)) AS node, weight FROM joined),
strengths AS (SELECT node, count(*) AS degree, sum(weight) AS strength FROM ends GROUP BY node),
walked AS (SELECT DISTINCT step.node FROM {walk} LATERAL VIEW explode(nodes) e AS step),
drawn AS (
  SELECT c.*, coalesce(s.degree, 0) AS degree, coalesce(s.strength, 0) AS strength, w.node IS NOT NULL AS on_walk,
         row_number() OVER (ORDER BY w.node IS NULL, s.strength DESC, c.node) AS place
  FROM counted c LEFT JOIN strengths s ON s.node = c.node LEFT JOIN walked w ON w.node = c.node
),
kept AS (SELECT * FROM drawn WHERE place <= :most)
SELECT k.node, k.field, k.value, k.conversations, k.degree, k.strength, k.on_walk,
       (SELECT count(*) FROM counted) AS of_nodes, (SELECT count(*) FROM joined) AS of_edges,
       collect_list(if(o.node IS NULL, NULL, struct(j.target, j.weight))) AS edges
FROM kept k LEFT JOIN joined j ON j.source = k.node LEFT JOIN kept o ON o.node = j.target
GROUP BY k.node, k.field, k.value, k.conversations, k.degree, k.strength, k.on_walk
ORDER BY k.field, k.strength DESC, k.node
