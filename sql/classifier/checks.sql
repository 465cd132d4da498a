-- fail: held-out accuracy is below classifier.floor; add labels, or lower the floor knowingly
SELECT * FROM {rows} WHERE n_held_out >= floor_rows AND accuracy < floor;

-- warn: held-out accuracy is below classifier.floor, on too few documents for the floor to bind
SELECT * FROM {rows} WHERE n_held_out < floor_rows AND accuracy < floor;

-- warn: the classifier was measured on fewer held-out documents than classifier.floor_rows
SELECT * FROM {rows} WHERE n_held_out < floor_rows;
