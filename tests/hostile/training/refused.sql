-- What only the refinement process can find out, so that each of these costs its start.

-- # one class held out by a split
-- right: 22000, says "bought", hints
CREATE TABLE parted AS SELECT *, CASE WHEN bought THEN 'train' ELSE 'valid' END AS part FROM base;
-- then
SELECT * FROM trails.model_selection('parted', 'bought', '15 s', split => 'part');

-- # a split of labels that mean nothing
-- right: 22000 or 22023, says "Perhaps", hints
CREATE TABLE parted AS SELECT *, CASE WHEN id % 3 = 0 THEN 'Perhaps' ELSE 'Yes' END AS part FROM base;
-- then
SELECT * FROM trails.model_selection('parted', 'bought', '15 s', split => 'part');

-- # one class in the validation table
-- right: 22000, says "bought", hints
CREATE TABLE bought_none AS SELECT * FROM base WHERE NOT bought;
-- then
SELECT * FROM trails.model_selection('base', 'bought', '15 s', validation => 'bought_none');

-- # eight rows, or they are learnt
-- right: success or 22000, hints at "10"
CREATE TABLE eight AS SELECT (i * 13 % 7)::float8 AS b, (i * 3.7)::float8 AS y FROM generate_series(1, 8) i;
-- then
SELECT * FROM trails.model_selection('eight', 'y', '15 s', task => 'regression', k => 1, u => 1);

-- # five rows
-- right: 22000, hints
SELECT * FROM trails.model_selection('five_rows', 'y', '15 s');

-- # two rows
-- right: 22000, hints
SELECT * FROM trails.model_selection('two_rows', 'y', '15 s');
