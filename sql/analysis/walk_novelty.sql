-- Do walks combine what no single conversation held, or do they replay their seeds?
-- `novel_share`: walks that no conversation holds whole. `mean_overlap`: part of a walk that its nearest seed path holds.
SELECT setting, document_type, count(*) AS walks, count_if(novel) / count(*) AS novel_share,
       avg(overlap / size(nodes)) AS mean_overlap,
       count(DISTINCT sort_array(transform(nodes, n -> n.node))) / count(*) AS distinct_share,
       avg(size(nodes)) AS mean_nodes, avg(redraws) AS mean_redraws
FROM walks
WHERE reject_reason IS NULL AND size(nodes) > 0
GROUP BY setting, document_type
ORDER BY setting, walks DESC, document_type
