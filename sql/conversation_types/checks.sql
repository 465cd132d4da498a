-- warn: new conversations are far from every document type; consider --refit document_types
SELECT * FROM {rows} WHERE drifted;
