-- The next unpaired instructions of each (setting, type), as many as wanted, each with the next documents in
-- seeded order: one for `single`, two of the same type for `multi`. Documents drawn less often come first.
WITH unpaired AS (
  SELECT i.*, row_number() OVER (PARTITION BY i.setting, i.document_type ORDER BY i.walk_index, i.id) AS place
  FROM {instructions} i LEFT ANTI JOIN {previous} p ON p.instruction = i.id
),
asked AS (
  SELECT u.* FROM unpaired u
  JOIN {wanted} w ON w.setting = u.setting AND w.document_type = u.document_type
  WHERE u.place <= w.count
),
ordered AS (
  SELECT setting, document_type, document, long_document, draws, if(setting = 'multi', 2, 1) AS per,
         row_number() OVER (
           PARTITION BY setting, document_type
           ORDER BY draws, sha2(concat_ws(':', :seed, setting, document), 256), document) - 1 AS place
  FROM {available}
),
sets AS (
  SELECT setting, document_type, floor(place / per) + 1 AS place, max(draws) + 1 AS draw,
         sort_array(collect_list(struct(place, document, long_document))) AS held
  FROM ordered
  GROUP BY setting, document_type, floor(place / per), per
  HAVING count(*) = per
)
SELECT a.setting, a.document_type, a.walk, a.walk_index, a.id AS instruction,
       transform(s.held, d -> d.document) AS documents, int(s.draw) AS draw,
       concat(array(a.id), transform(s.held, d -> d.long_document)) AS parent_ids
FROM asked a
JOIN sets s ON s.setting = a.setting AND s.document_type = a.document_type AND s.place = a.place
