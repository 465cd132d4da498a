-- How many neighbours do values have: is the graph even, or a few hubs and many leaves?
-- Degrees in buckets of powers of two, all types of a setting together.
WITH joined AS (
  SELECT setting, source, target FROM edges GROUP BY setting, source, target HAVING sum(count) > 0
),
ends AS (SELECT setting, explode(array(source, target)) AS node FROM joined),
degrees AS (SELECT setting, node, count(*) AS degree FROM ends GROUP BY setting, node),
held AS (SELECT setting, node FROM nodes GROUP BY setting, node HAVING sum(count) > 0),
bucketed AS (
  SELECT v.setting, if(d.degree IS NULL, 0, bigint(pow(2, floor(log2(d.degree))))) AS degree_from
  FROM held v LEFT JOIN degrees d ON d.setting = v.setting AND d.node = v.node
)
SELECT setting, degree_from, if(degree_from = 0, 0, 2 * degree_from - 1) AS degree_to, count(*) AS n_nodes,
       count(*) / sum(count(*)) OVER (PARTITION BY setting) AS share
FROM bucketed
GROUP BY setting, degree_from
ORDER BY setting, degree_from
