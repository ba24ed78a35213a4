-- Rows and relations that a model was not trained on.

-- # a NULL without a type for a number
-- right: success or 42804, hints
SELECT trails.predict_score('m', r) FROM (SELECT 'green'::text AS "colour", 5 AS "hour", NULL AS "amount", timestamp
    '2024-05-01' AS "seen") r;

-- # a NULL without a type for an integer
-- right: success or 42804, hints
SELECT trails.predict_score('m', r) FROM (SELECT 'green'::text AS "colour", NULL AS "hour", 1.5::float8 AS "amount",
    timestamp '2024-05-01' AS "seen") r;

-- # a NULL without a type for a timestamp
-- right: success or 42804, hints
SELECT trails.predict_score('m', r) FROM (SELECT 'green'::text AS "colour", 5 AS "hour", 1.5::float8 AS "amount",
    NULL AS "seen") r;

-- # infinity
-- right: 22003, says "amount"
SELECT trails.predict_score('m', r) FROM (SELECT 'green'::text AS "colour", 5 AS "hour", 'Infinity'::float8 AS
    "amount", timestamp '2024-05-01' AS "seen") r;

-- # negative infinity
-- right: 22003, says "amount"
SELECT trails.predict_score('m', r) FROM (SELECT 'green'::text AS "colour", 5 AS "hour", '-Infinity'::float8 AS
    "amount", timestamp '2024-05-01' AS "seen") r;

-- # a numeric that no double holds
-- right: 22003, says "amount"
SELECT trails.predict_score('m', r) FROM (SELECT 'green'::text AS "colour", 5 AS "hour", 10::numeric ^ 400 AS
    "amount", timestamp '2024-05-01' AS "seen") r;

-- # a text for a number
-- right: 42804, says "amount", hints
SELECT trails.predict_score('m', r) FROM (SELECT 'green'::text AS "colour", 5 AS "hour", '1.5'::text AS "amount",
    timestamp '2024-05-01' AS "seen") r;

-- # a number for a text
-- right: 42804, says "colour", hints
SELECT trails.predict_score('m', r) FROM (SELECT 5 AS "colour", 5 AS "hour", 1.5::float8 AS "amount", timestamp
    '2024-05-01' AS "seen") r;

-- # a boolean for an integer
-- right: success
-- rows: [(True,)]
SELECT trails.predict_score('m', r) BETWEEN 0 AND 1 FROM (SELECT 'green'::text AS "colour", true AS "hour", 1.5::float8 AS "amount",
    timestamp '2024-05-01' AS "seen") r;

-- # a time for a timestamp
-- right: 42804, says "seen", hints
SELECT trails.predict_score('m', r) FROM (SELECT 'green'::text AS "colour", 5 AS "hour", 1.5::float8 AS "amount",
    time '12:00' AS "seen") r;

-- # an array for a number
-- right: 0A000 or 42804, says "amount", hints
SELECT trails.predict_score('m', r) FROM (SELECT 'green'::text AS "colour", 5 AS "hour", ARRAY[1.5] AS "amount",
    timestamp '2024-05-01' AS "seen") r;

-- # json for a text
-- right: 0A000 or 42804, says "colour", hints
SELECT trails.predict_score('m', r) FROM (SELECT '"red"'::json AS "colour", 5 AS "hour", 1.5::float8 AS "amount",
    timestamp '2024-05-01' AS "seen") r;

-- # a fraction for an integer
-- right: 42804, says "hour", hints
SELECT trails.predict_score('m', r) FROM (SELECT 'green'::text AS "colour", 5.5::float8 AS "hour", 1.5::float8 AS
    "amount", timestamp '2024-05-01' AS "seen") r;

-- # columns in another order
-- right: success
-- rows: [(True,)]
SELECT a = b FROM (SELECT trails.predict_score('m', r) a FROM (SELECT 'green'::text AS colour, 5 AS hour,
    1.5::float8 AS amount, timestamp '2024-05-01' AS seen) r) x, (SELECT trails.predict_score('m', r) b FROM (SELECT
    timestamp '2024-05-01' AS seen, 1.5::float8 AS amount, 5 AS hour, 'green'::text AS colour, 7 AS id) r) y;

-- # a column that is missing
-- right: 42703, says "amount", hints at "colour"
SELECT trails.predict_score('m', r) FROM (SELECT 'red'::text AS colour, 5 AS hour, timestamp '2024-05-01' AS seen) r;

-- # no column
-- right: 42703, hints
SELECT trails.predict_score('m', r) FROM (SELECT WHERE true) r;

-- # columns without names
-- right: 42703, hints
SELECT trails.predict('m', ROW('red'::text, 5, 1.5::float8, timestamp '2024-05-01'));

-- # a column with a capital
-- right: 42703, says "colour", hints at "Colour"
SELECT trails.predict_score('m', r) FROM (SELECT 'green'::text AS "Colour", 5 AS hour, 1.5::float8 AS amount,
    timestamp '2024-05-01' AS seen) r;

-- # a number twice
-- right: 42702, says "amount", hints
SELECT trails.predict_score('m', r) FROM (SELECT 'green'::text AS colour, 5 AS hour, 1.5::float8 AS amount,
    timestamp '2024-05-01' AS seen, 0.5::float8 AS amount) r;

-- # a text twice
-- right: 42702, says "colour", hints
SELECT trails.predict_score('m', r) FROM (SELECT b.*, 'red'::text AS colour FROM base b LIMIT 1) r;

-- # every column twice
-- right: 42702, hints
SELECT trails.predict('m', r) FROM (SELECT b.*, b.* FROM base b LIMIT 1) r;

-- # a column twice for probabilities
-- right: 42702, says "colour", hints
SELECT trails.predict_probabilities('m', r) FROM (SELECT 'green'::text AS colour, 5 AS hour, 1.5::float8 AS amount,
    timestamp '2024-05-01' AS seen, 'x'::text AS colour) r;

-- # a surplus column twice
-- right: success
-- rows: [(True,)]
SELECT trails.predict_score('m', r) IS NOT NULL FROM (SELECT 'green'::text AS colour, 5 AS hour, 1.5::float8 AS
    amount, timestamp '2024-05-01' AS seen, 1 AS more, 2 AS more) r;

-- # a view without a column
-- right: 42703, says "amount", hints at "colour"
CREATE VIEW narrower AS SELECT id, colour, hour, seen FROM base;
-- then
SELECT * FROM trails.predict('m', 'narrower');

-- # a view with a capital
-- right: 42703, says "colour", hints at "Colour"
CREATE VIEW cased AS SELECT id, colour AS "Colour", hour, amount, seen FROM base;
-- then
SELECT * FROM trails.predict('m', 'cased');

-- # a view with a text for a number
-- right: 42804, says "amount", hints
CREATE VIEW texts AS SELECT id, colour, hour, amount::text AS amount, seen FROM base;
-- then
SELECT * FROM trails.predict('m', 'texts');

-- # a view with integers for numbers
-- right: success
-- rows: [(600, 600)]
CREATE VIEW wider AS SELECT id, colour, hour::smallint AS hour, amount::int AS amount, seen::date AS seen FROM base;
-- then
SELECT count(*), count(score) FROM trails.predict('m', 'wider');

-- # a view with more columns
-- right: success
-- rows: [(600, 600)]
CREATE VIEW more AS SELECT '{}'::json AS j, ARRAY[1] AS extra, * FROM base;
-- then
SELECT count(*), count(score) FROM trails.predict('m', 'more');

-- # rows after a column was dropped
-- right: success
-- rows: [(True,)]
CREATE TABLE changing AS SELECT 1 AS junk, b.* FROM base b;
SELECT sum(trails.predict_score('m', c)) FROM changing c;
ALTER TABLE changing DROP junk;
-- then
SELECT max(abs(trails.predict_score('m', c) - trails.predict_score('m', b))) < 1e-9 FROM changing c JOIN base b
    USING (id);

-- # rows after a column became a text
-- right: 42804, says "hour", hints
CREATE TABLE changing AS SELECT * FROM base;
SELECT sum(trails.predict_score('m', c)) FROM changing c;
ALTER TABLE changing ALTER hour TYPE text;
-- then
SELECT trails.predict_score('m', c) FROM changing c;

-- # a table after a column became a text
-- right: 42804, says "hour", hints
CREATE TABLE changing AS SELECT * FROM base;
SELECT count(*) FROM trails.predict('m', 'changing');
ALTER TABLE changing ALTER hour TYPE text;
-- then
SELECT count(*) FROM trails.predict('m', 'changing');

-- # a table after a column was dropped
-- right: 42703, says "hour", hints
CREATE TABLE changing AS SELECT * FROM base;
SELECT count(*) FROM trails.predict('m', 'changing');
ALTER TABLE changing DROP hour;
-- then
SELECT count(*) FROM trails.predict('m', 'changing');

-- # an enum that has grown
-- right: success
-- rows: [(600, 600)]
CREATE TYPE size AS ENUM ('red', 'green', 'blue', 'yellow');
CREATE TABLE sized AS SELECT id, colour::size AS colour, hour, amount, seen FROM base;
ALTER TYPE size RENAME VALUE 'green' TO 'Green';
-- then
SELECT count(*), count(score) FROM trails.predict('m', 'sized');

-- # a table without rows
-- right: success
-- rows: []
CREATE TABLE nothing (LIKE base);
-- then
SELECT * FROM trails.predict('m', 'nothing');

-- # rows of nothing but NULLs
-- right: success
-- rows: [(5, 5)]
CREATE TABLE holes (LIKE base);
ALTER TABLE holes ALTER id DROP NOT NULL;
INSERT INTO holes SELECT FROM generate_series(1, 5);
-- then
SELECT count(score), count(prediction) FROM trails.predict('m', 'holes');

-- # every kind of column
-- right: success
-- rows: [(60, 60)]
SELECT count(*), count(score) FROM trails.predict('t', 'things');

-- # every kind of column, row by row
-- right: success
-- rows: [(60, 60)]
SELECT count(trails.predict('t', t)), count(trails.predict_probabilities('t', t)) FROM things t;

-- # an id:value that is none
-- right: success or 22P02, says "published", hints
INSERT INTO things (id, published) VALUES (1000001, 'late');
-- then
SELECT count(*) FROM trails.predict('t', 'things');

-- # an id:value that is none, row by row
-- right: success or 22P02, says "published", hints
INSERT INTO things (id, published) VALUES (1000001, '25:61x');
-- then
SELECT count(trails.predict('t', t)) FROM things t;
