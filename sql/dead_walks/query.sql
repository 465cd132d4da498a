-- Walks that the graph no longer carries: the seed path they learn from is gone, or one of their nodes or edges
-- counts no conversation any more. Edges are stored from the smaller (field, node) to the larger.
WITH steps AS (
  SELECT id, nearest_seed_path, explode(transform(sequence(0, size(nodes) - 1), i -> struct(
           nodes[i].node AS node,
           least(struct(nodes[i].field, nodes[i].node), struct(get(nodes, i + 1).field, get(nodes, i + 1).node)).node AS source,
           greatest(struct(nodes[i].field, nodes[i].node), struct(get(nodes, i + 1).field, get(nodes, i + 1).node)).node AS target,
           i < size(nodes) - 1 AS goes_on))) AS step
  FROM {walks} WHERE size(nodes) > 0
),
alive_nodes AS (SELECT node FROM {nodes} GROUP BY node HAVING sum(count) > 0),
alive_edges AS (SELECT source, target FROM {edges} GROUP BY source, target HAVING sum(count) > 0)
SELECT w.id FROM {walks} w LEFT ANTI JOIN {seed_paths} s ON s.id = w.nearest_seed_path
WHERE w.nearest_seed_path IS NOT NULL
UNION
SELECT id FROM steps LEFT ANTI JOIN alive_nodes n ON n.node = steps.step.node
UNION
SELECT id FROM steps LEFT ANTI JOIN alive_edges e ON e.source = steps.step.source AND e.target = steps.step.target
WHERE steps.step.goes_on
