-- How large is the co-occurrence graph of each type, and does it hang together?
SELECT setting, document_type, nodes, edges, try_divide(2 * edges, nodes * (nodes - 1)) AS density, components,
       largest_component, try_divide(largest_component, nodes) AS largest_share, communities, mean_degree, max_degree
FROM graph_stats
ORDER BY setting, nodes DESC, document_type
