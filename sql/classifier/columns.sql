-- One row: the random forest over document vectors, with its held-out figures. Frozen until --refit.
version STRING COMMENT 'hash of the model',
model BINARY COMMENT 'scikit-learn forest in skops format',
classes ARRAY<STRING> COMMENT 'labels it can give',
n_train BIGINT COMMENT 'rows trained on',
n_held_out BIGINT COMMENT 'rows it was measured on',
accuracy DOUBLE COMMENT 'held-out accuracy',
interval_low DOUBLE COMMENT 'Wilson 95 percent interval',
interval_high DOUBLE COMMENT 'Wilson 95 percent interval',
baseline DOUBLE COMMENT 'accuracy of always saying the commonest label',
floor DOUBLE COMMENT 'accuracy below which the run stops',
floor_rows BIGINT COMMENT 'held-out rows from which the floor binds',
per_class ARRAY<STRUCT<label: STRING, precision: DOUBLE, recall: DOUBLE, support: BIGINT>> COMMENT 'held-out table',
teacher STRING COMMENT 'teacher whose labels it learnt'
