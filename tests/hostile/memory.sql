-- Statements that need more memory than the server has: `ulimit -v` of 500 MB, and views of millions of rows.

-- # columns of numbers are described
-- right: 53200, hints
SELECT * FROM trails.describe_columns('numbers');

-- # columns of numbers are read
-- right: 53200, hints
SELECT * FROM trails.benchmark_reading('numbers');

-- # columns of numbers are filtered on
-- right: 53200, hints
SELECT * FROM trails.filtering_phase('numbers', 'c', n => 5);

-- # columns of numbers are selected for
-- right: 53200, hints
SELECT * FROM trails.model_selection('numbers', 'c', '15 s');

-- # columns of numbers are read in batches
-- right: success or 53200
SELECT rows FROM trails.benchmark_reading('numbers', 1, 'batches');

-- # texts that all differ
-- right: 53200 or success, hints
SELECT * FROM trails.describe_columns('texts');

-- # predictions are written where there is room
-- right: success
-- rows: [(2000000,)]
CREATE VIEW many AS SELECT b.* FROM base b, generate_series(1, 3334) i LIMIT 2000000;
-- then
SELECT count(*) FROM trails.predict('m', 'many');

-- # the latency study of a large id
-- right: 53200 or success, hints
CREATE TABLE large_ids AS SELECT i AS id, mod(i, 2) AS label, CASE i WHEN 7 THEN 20000000 ELSE i END AS a
    FROM generate_series(1, 64) i;
ALTER TABLE large_ids ADD PRIMARY KEY (id);
-- then
SELECT * FROM trails.benchmark_filtering_latency_in_db(2, 'large_ids', 32);

-- # the latency study of the largest id
-- right: success
CREATE TABLE large_ids AS SELECT i AS id, mod(i, 2) AS label, CASE i WHEN 7 THEN 9223372036854775807 ELSE i END AS a
    FROM generate_series(1, 64) i;
ALTER TABLE large_ids ADD PRIMARY KEY (id);
-- then
SELECT * FROM trails.benchmark_filtering_latency_in_db(2, 'large_ids', 32);

-- # a configuration without end
-- right: 58P01 or 42809 or 22023 or 54000, hints
SELECT * FROM trails.benchmark_filtering_latency_in_db(1, 'base', 8, '/dev/zero');

-- # a text of 100 MB
-- right: 53200 or success
SELECT trails.predict_score('m', r) IS NOT NULL
FROM (SELECT repeat('x', 100000000) AS colour, 5 AS hour, 1.5::float8 AS amount, timestamp '2024-05-01' AS seen) r;

-- # labels of 20 MB
-- right: 53200 or 22000 or 22023 or 54000 or success, hints
CREATE VIEW labels AS SELECT id, hour, amount, repeat('x', 20000000) || id % 2 AS y FROM base LIMIT 100;
-- then
SELECT count(*) FROM trails.filtering_phase('labels', 'y', n => 5);

-- # a blob of 100 MB that is none
-- right: 53200 or 22023
SELECT trails.import_model('x', convert_to(repeat('x', 100000000), 'UTF8'));

-- # an architecture of 200 MB
-- right: 53200 or 22023
SELECT * FROM trails.refinement_phase('base', 'bought', ARRAY[repeat('64-', 66000000)]);

-- # a million features
-- right: 54011 or 42703 or 53200
SELECT * FROM trails.filtering_phase('base', 'bought',
    features => (SELECT array_agg('f' || i) FROM generate_series(1, 1000000) i)::name[]);
