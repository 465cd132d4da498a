-- One row per sampled path over distinct fields (WildLong, Eq. 1), with its nearest seed path.
setting STRING COMMENT 'single or multi',
document_type STRING COMMENT 'label of the type',
walk_index BIGINT COMMENT 'position in the fixed order of the (setting, type)',
nodes ARRAY<STRUCT<field: STRING, value: STRING, node: STRING>> COMMENT 'the path in walking order',
redraws INT COMMENT 'dead ends before it',
seed BIGINT COMMENT 'seed of the run',
nodes_version BIGINT COMMENT 'Delta version of nodes',
edges_version BIGINT COMMENT 'Delta version of edges',
nearest_seed_path STRING COMMENT 'seed path of largest intersection, ties to the smallest id',
overlap INT COMMENT 'nodes shared with it',
novel BOOLEAN COMMENT 'no single conversation holds the whole path'
