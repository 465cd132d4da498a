-- One row per (setting, type): figures of its graph.
setting STRING COMMENT 'single or multi',
document_type STRING COMMENT 'label of the type',
nodes BIGINT COMMENT 'distinct values',
edges BIGINT COMMENT 'distinct pairs',
components BIGINT COMMENT 'connected components',
largest_component BIGINT COMMENT 'nodes in the largest',
communities BIGINT COMMENT 'by label propagation',
mean_degree DOUBLE COMMENT 'edges per node, counted at both ends',
max_degree BIGINT COMMENT 'of the greatest hub',
top_pagerank ARRAY<STRUCT<field: STRING, value: STRING, pagerank: DOUBLE>> COMMENT 'most central values'
