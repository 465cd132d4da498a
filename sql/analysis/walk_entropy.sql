-- Do walks use the breadth of the graph, or the same few values again and again?
-- Entropies in bits over the values of a field: of the walks' visits, and of the conversations' counts. `evenness` is
-- the first against its maximum, all values of the graph visited alike.
WITH visits AS (
  SELECT setting, step.field, step.node, count(*) AS n
  FROM walks LATERAL VIEW explode(nodes) e AS step
  WHERE reject_reason IS NULL GROUP BY setting, step.field, step.node
),
held AS (
  SELECT setting, field, node, sum(count) AS n FROM nodes GROUP BY setting, field, node HAVING sum(count) > 0
),
shares AS (
  SELECT setting, field, h.n AS held, v.n AS visited,
         h.n / sum(h.n) OVER (PARTITION BY setting, field) AS p, v.n / sum(v.n) OVER (PARTITION BY setting, field) AS q
  FROM held h FULL OUTER JOIN visits v USING (setting, field, node)
)
SELECT setting, field, coalesce(sum(visited), 0) AS visits, count(visited) AS values_visited, count(held) AS values_held,
       coalesce(-sum(q * log2(q)), 0D) AS walk_entropy, coalesce(-sum(p * log2(p)), 0D) AS conversation_entropy,
       try_divide(coalesce(-sum(q * log2(q)), 0D), log2(count(held))) AS evenness
FROM shares
GROUP BY setting, field
ORDER BY setting, visits DESC, field
