-- Canonical values whose meta record is gone, each with the surviving meta record that it can stand on instead: one
-- that holds the value, else one that holds a value it stands for; null where there is none.
WITH holders AS (
  SELECT document_type, field, value, min(meta_record) AS holder FROM {held} GROUP BY document_type, field, value
),
known AS (
  SELECT c.id, c.parent_ids[0] AS parent, c.document_type, c.field, c.value, c.canonical, h.holder
  FROM {canonical_values} c
  LEFT JOIN holders h ON h.document_type = c.document_type AND h.field = c.field AND h.value = c.value
),
stands_for AS (
  SELECT document_type, field, canonical, min(holder) AS holder FROM known
  WHERE holder IS NOT NULL GROUP BY document_type, field, canonical
)
SELECT k.id, coalesce(k.holder, s.holder) AS holder
FROM known k
LEFT ANTI JOIN {meta_records} m ON m.id = k.parent
LEFT JOIN stands_for s ON s.document_type = k.document_type AND s.field = k.field AND s.canonical = k.value
