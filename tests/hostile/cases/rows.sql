-- Rows that nothing can be learnt from, targets that cannot be learnt, validation tables that differ.

-- # no row
-- right: 22000, says "empty"
SELECT count(*) FROM trails.filtering_phase('empty_one', 'y', n => 20, k => 3);

-- # no column
-- right: 22000 or 22023, hints
SELECT * FROM trails.filtering_phase('bare');

-- # one row
-- right: 22000, hints
SELECT count(*) FROM trails.filtering_phase('one_row', 'y', n => 20, k => 3);

-- # one row of two
-- right: 22000, hints
SELECT * FROM trails.model_selection('one_row', 'y', '6 s');

-- # one class
-- right: 22000, says "false", hints
SELECT count(*) FROM trails.filtering_phase('one_class', 'y', n => 20, k => 3);

-- # one class to select for
-- right: 22000, says "false", hints
SELECT * FROM trails.model_selection('one_class', 'y', '6 s');

-- # no target in any row
-- right: 22000, says "y", says "NULL"
SELECT count(*) FROM trails.filtering_phase('no_target', 'y', n => 20, k => 3);

-- # no target in any row to select for
-- right: 22000, says "NULL"
SELECT * FROM trails.model_selection('no_target', 'y', '6 s');

-- # only a key
-- right: 22023, hints
SELECT count(*) FROM trails.filtering_phase('keys_only', 'y', n => 20, k => 3);

-- # nothing that can help
-- right: 22000, says "constant"
SELECT count(*) FROM trails.filtering_phase('useless', 'y', features => '{three,nothing,label}', n => 20, k => 3);

-- # one number
-- right: 22000, says "y", hints
CREATE TABLE level AS SELECT id, hour, 5000::real AS y FROM base;
-- then
SELECT * FROM trails.model_selection('level', 'y', '6 s', task => 'regression');

-- # two classes where several are asked for
-- right: 22000 or 22023, says "two", hints
SELECT * FROM trails.model_selection('base', 'bought', '6 s', task => 'multiclass');

-- # several where two are asked for
-- right: 22000 or 22023, says "hour", hints
SELECT * FROM trails.model_selection('base', 'hour', '6 s', task => 'binary');

-- # a text as a number
-- right: 22000 or 22023 or 0A000, says "colour", hints
SELECT * FROM trails.model_selection('base', 'colour', '6 s', task => 'regression');

-- # numbers as text as a number
-- right: 22000 or 22023 or 0A000, says "y", hints
CREATE TABLE texts AS SELECT hour, to_char(amount * 1000, 'FM999,990.00') AS y FROM base;
-- then
SELECT * FROM trails.model_selection('texts', 'y', '6 s', task => 'regression');

-- # as many classes as rows
-- right: 22000 or 22023 or success
SELECT * FROM trails.model_selection('secrets', 'id', '6 s', task => 'multiclass', features => '{hour}', k => 1, u
    => 1);

-- # a time as target
-- right: 22023 or 0A000, says "seen", hints
SELECT * FROM trails.model_selection('base', 'seen', '6 s');

-- # an array as target
-- right: 0A000, says "y", hints
CREATE TABLE arrays AS SELECT hour, ARRAY[hour] AS y FROM base;
-- then
SELECT * FROM trails.model_selection('arrays', 'y', '6 s');

-- # validation without rows
-- right: 22000, says "nothing"
CREATE TABLE nothing (LIKE base);
-- then
SELECT * FROM trails.model_selection('base', 'bought', '6 s', validation => 'nothing');

-- # validation without the target
-- right: 42703, says "bought", hints
CREATE VIEW unlabelled AS SELECT id, colour, hour, amount, seen FROM base;
-- then
SELECT * FROM trails.model_selection('base', 'bought', '6 s', validation => 'unlabelled');

-- # validation without a feature
-- right: 42703, says "amount", hints
CREATE VIEW narrower AS SELECT id, colour, hour, bought FROM base;
-- then
SELECT * FROM trails.model_selection('base', 'bought', '6 s', validation => 'narrower');

-- # validation with another target
-- right: 42804, says "bought", hints
CREATE VIEW other AS SELECT id, colour, hour, amount, seen, bought::text AS bought FROM base;
-- then
SELECT * FROM trails.model_selection('base', 'bought', '6 s', validation => 'other');

-- # validation with a text for a number
-- right: 42804, says "amount", hints
CREATE VIEW other AS SELECT id, colour, hour, amount::text AS amount, seen, bought FROM base;
-- then
SELECT * FROM trails.model_selection('base', 'bought', '6 s', validation => 'other');

-- # validation of nothing but NULLs
-- right: 22000, says "NULL"
CREATE VIEW other AS SELECT id, colour, hour, amount, seen, NULL::bool AS bought FROM base;
-- then
SELECT * FROM trails.model_selection('base', 'bought', '6 s', validation => 'other');
