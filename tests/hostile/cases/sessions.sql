-- Transactions, cursors, prepared statements and subtransactions: the extension does as plain statements do.

-- # filtering in a read-only transaction
-- right: success, in READ ONLY
-- rows: [(3,)]
SELECT count(*) FROM trails.filtering_phase('base', 'bought', n => 20, k => 3);

-- # describing in a read-only transaction
-- right: success, in READ ONLY
-- rows: [(6,)]
SELECT count(*) FROM trails.describe_columns('base');

-- # predicting in a read-only transaction
-- right: success, in READ ONLY
-- rows: [(600,)]
SELECT count(*) FROM trails.predict('m', 'base');

-- # predicting in a serializable, read-only, deferrable transaction
-- right: success, in ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE
-- rows: [(600,)]
SELECT count(*) FROM trails.predict('m', 'base');

-- # predicting in a serializable transaction
-- right: success, in ISOLATION LEVEL SERIALIZABLE
-- rows: [(600,)]
SELECT count(trails.predict('m', b)) FROM base b;

-- # selecting in a read-only transaction
-- right: 25006, in READ ONLY
SELECT * FROM trails.model_selection('base', 'bought', '6 s');

-- # refining in a read-only transaction
-- right: 25006, in READ ONLY
SELECT * FROM trails.refinement_phase('base', 'bought', '{64-64-64-64}');

-- # deploying in a read-only transaction
-- right: 25006, in READ ONLY
SELECT * FROM trails.deploy('m');

-- # importing in a read-only transaction
-- right: 25006, in READ ONLY
SELECT trails.import_model('x', trails.export_model('m'));

-- # an error that a savepoint catches
-- right: success
-- rows: [(True,)]
DO $$ BEGIN
PERFORM trails.predict_score('nonsense', b) FROM base b;
EXCEPTION WHEN OTHERS THEN
IF SQLSTATE <> '42704' THEN RAISE EXCEPTION 'it ended with % %', SQLSTATE, SQLERRM USING ERRCODE = 'P0009'; END IF;
END $$;
-- then
SELECT count(trails.predict_score('m', b)) = 600 FROM base b;

-- # an infinity that a savepoint catches
-- right: success
-- rows: [(True,)]
DO $$ BEGIN
PERFORM trails.predict_score('m', r) FROM (SELECT b.colour, b.hour, 'Infinity'::float8 AS amount, b.seen FROM base
    b) r;
EXCEPTION WHEN OTHERS THEN
IF SQLSTATE <> '22003' THEN RAISE EXCEPTION 'it ended with % %', SQLSTATE, SQLERRM USING ERRCODE = 'P0009'; END IF;
END $$;
-- then
SELECT count(trails.predict_score('m', b)) = 600 FROM base b;

-- # a reader's error that a savepoint catches
-- right: success
-- rows: [(True,)]
DO $$ BEGIN
PERFORM * FROM trails.describe_columns('not_filled');
EXCEPTION WHEN OTHERS THEN
IF SQLSTATE <> '55000' THEN RAISE EXCEPTION 'it ended with % %', SQLSTATE, SQLERRM USING ERRCODE = 'P0009'; END IF;
END $$;
-- then
SELECT count(trails.predict_score('m', b)) = 600 FROM base b;

-- # a filtering's error that a savepoint catches
-- right: success
-- rows: [(True,)]
DO $$ BEGIN
PERFORM * FROM trails.filtering_phase('one_class', 'y');
EXCEPTION WHEN OTHERS THEN
IF SQLSTATE <> '22000' THEN RAISE EXCEPTION 'it ended with % %', SQLSTATE, SQLERRM USING ERRCODE = 'P0009'; END IF;
END $$;
-- then
SELECT count(trails.predict_score('m', b)) = 600 FROM base b;

-- # a selection's error that a savepoint catches
-- right: success
-- rows: [(True,)]
DO $$ BEGIN
PERFORM * FROM trails.model_selection('one_class', 'y', '6 s');
EXCEPTION WHEN OTHERS THEN
IF SQLSTATE <> '22000' THEN RAISE EXCEPTION 'it ended with % %', SQLSTATE, SQLERRM USING ERRCODE = 'P0009'; END IF;
END $$;
-- then
SELECT count(trails.predict_score('m', b)) = 600 FROM base b;

-- # a time-out that a savepoint catches
-- right: success
-- rows: [(True,)]
DO $$ BEGIN
PERFORM set_config('statement_timeout', '0', true); PERFORM * FROM trails.describe_columns('not_filled');
EXCEPTION WHEN OTHERS THEN
IF SQLSTATE <> '55000' THEN RAISE EXCEPTION 'it ended with % %', SQLSTATE, SQLERRM USING ERRCODE = 'P0009'; END IF;
END $$;
-- then
SELECT count(trails.predict_score('m', b)) = 600 FROM base b;

-- # a hundred errors that savepoints catch
-- right: success
-- rows: [(True,)]
DO $$ BEGIN FOR i IN 1..100 LOOP BEGIN PERFORM * FROM trails.predict('m', 'not_filled'); EXCEPTION WHEN object_not_in_prerequisite_state THEN NULL; END; END LOOP; END $$;
-- then
SELECT count(*) = 600 FROM trails.predict('m', 'base');

-- # two cursors, fetched from in turns
-- right: success
-- rows: [(1,)]
DECLARE one CURSOR FOR SELECT key FROM trails.predict('m', 'base');
DECLARE two CURSOR FOR SELECT trails.predict_score('m', b) FROM base b;
FETCH 2 FROM one;
FETCH 1 FROM two;
FETCH 1 FROM one;
CLOSE one;
-- then
MOVE 5 FROM two;
SELECT 1;

-- # a cursor that is fetched from after its model is gone
-- right: success
-- rows: [(True,)]
DECLARE two CURSOR FOR SELECT trails.predict_score('m', b) IS NOT NULL FROM base b;
FETCH 1 FROM two;
SELECT trails.drop_model('m', true);
-- then
FETCH 1 FROM two;

-- # a cursor whose table is altered
-- right: 55006
DECLARE two CURSOR FOR SELECT trails.predict_score('m', b) FROM base b;
FETCH 1 FROM two;
-- then
ALTER TABLE base ALTER hour TYPE text;

-- # a cursor that outlives its transaction's savepoint
-- right: success
-- rows: [(600,)]
SAVEPOINT s;
DECLARE two CURSOR FOR SELECT trails.predict_score('m', b) FROM base b;
FETCH 1 FROM two;
ROLLBACK TO s;
-- then
SELECT count(trails.predict_score('m', b)) FROM base b;

-- # a cursor that is scrolled
-- right: success
-- rows: [('1',)]
DECLARE s SCROLL CURSOR FOR SELECT key FROM trails.predict('m', 'base') ORDER BY key::int;
FETCH LAST FROM s;
-- then
FETCH FIRST FROM s;

-- # a prepared statement after its table has another column
-- right: success
-- rows: [(True,)]
PREPARE one (text) AS SELECT count(trails.predict_score($1, b)) FROM base b;
EXECUTE one('m');
ALTER TABLE base ADD added int;
EXECUTE one('m');
ALTER TABLE base DROP added;
EXECUTE one('m');
DEALLOCATE one;
-- then
SELECT true;

-- # a prepared statement with a plan for all models
-- right: success
-- rows: [(True,)]
SET LOCAL plan_cache_mode = force_generic_plan;
PREPARE one (text) AS SELECT count(trails.predict_score($1, b)) FROM base b;
EXECUTE one('m');
EXECUTE one('r');
EXECUTE one('c');
DEALLOCATE one;
-- then
SELECT true;

-- # a prepared statement whose model changes
-- right: success
-- rows: [(True,)]
PREPARE one AS SELECT max(trails.predict_score('m', b)) FROM base b;
EXECUTE one;
SELECT trails.deploy('m@1');
EXECUTE one;
DEALLOCATE one;
-- then
SELECT true;

-- # a prepared relation
-- right: success
-- rows: [(6,)]
PREPARE one (regclass) AS SELECT count(*) FROM trails.describe_columns($1);
EXECUTE one('base');
DEALLOCATE one;
-- then
SELECT count(*) FROM trails.describe_columns('base');

-- # a function that is called for every row
-- right: success
-- rows: [(140,)]
SELECT count(*) FROM base b, LATERAL trails.encoding('m@' || (1 + b.id % 2)) e WHERE b.id <= 20;

-- # a function in a subquery of itself
-- right: success
-- rows: [(6,)]
SELECT count(*) FROM trails.describe_columns('base', ARRAY(SELECT column_name::name FROM
    trails.describe_columns('base')));

-- # only the first row is asked for
-- right: success
-- rows: [('1',)]
SELECT key FROM trails.predict('m', 'base') LIMIT 1;

-- # no row is asked for
-- right: success
-- rows: []
SELECT * FROM trails.predict('m', 'base') LIMIT 0;

-- # in a WITH that nothing reads
-- right: success
-- rows: [(1,)]
WITH unread AS MATERIALIZED (SELECT * FROM trails.predict('m', 'base')) SELECT 1;

-- # beside LISTEN and NOTIFY
-- right: success
-- rows: [(600,)]
LISTEN models;
NOTIFY models, 'x';
-- then
SELECT count(*) FROM trails.predict('m', 'base');

-- # with rows that the same statement writes
-- right: success
-- rows: [(1,)]
WITH written AS (INSERT INTO base (id, colour, hour, amount, seen) VALUES (9999, 'red', 1, 1, now()) RETURNING
    base.*) SELECT count(trails.predict_score('m', w)) FROM written w;

-- # with rows that the same transaction wrote
-- right: success
-- rows: [(601,)]
INSERT INTO base (id, colour, hour, amount, seen) VALUES (9999, 'red', 1, 1, now());
-- then
SELECT count(*) FROM trails.predict('m', 'base');

-- # a filtering inside a view that is filtered
-- right: success
-- rows: [(3,)]
CREATE FUNCTION inside() RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM * FROM trails.filtering_phase('base', 'bought', n => 5, k => 1); RETURN 0; END $$;
CREATE VIEW nested AS SELECT b.* FROM base b, (SELECT inside() OFFSET 0) z;
-- then
SELECT count(*) FROM trails.filtering_phase('nested', 'bought', n => 20, k => 3, features => '{hour,amount}');

-- # a description inside a view that is described
-- right: success
-- rows: [(7,)]
CREATE FUNCTION inside() RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM * FROM trails.describe_columns('base'); RETURN 0; END $$;
CREATE VIEW nested AS SELECT b.*, inside() AS i FROM base b LIMIT 50;
-- then
SELECT count(*) FROM trails.describe_columns('nested');
