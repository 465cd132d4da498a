-- fail: a walk visits a field twice
SELECT * FROM {rows} WHERE size(array_distinct(transform(nodes, n -> n.field))) <> size(nodes);
