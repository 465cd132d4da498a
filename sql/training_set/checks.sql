-- fail: samples that different pairs of models measured would be ranked together (the models were changed under their names); run again with --recompute influence, or put the models back
SELECT 1 FROM {rows} WHERE score IS NOT NULL HAVING count(DISTINCT measured_by) > 1;

-- warn: samples that were measured in different number types (a GPU's bfloat16 and a CPU's float32) are ranked together; set influence.dtype and run again with --recompute influence
SELECT 1 FROM {rows} WHERE score IS NOT NULL HAVING count(DISTINCT number_type) > 1;
