-- Predictions wherever SQL allows them, and models that are not there.

-- # a row of NULL
-- right: success
-- rows: [(None, None, None)]
SELECT trails.predict('m', NULL::base), trails.predict_score('m', NULL::base), trails.predict_probabilities('m',
    NULL::base);

-- # a model of NULL for a row
-- right: 22023, says "model"
SELECT trails.predict(NULL, b) FROM base b LIMIT 1;

-- # a model without a name
-- right: 42704 or 22023, hints
SELECT trails.predict('', b) FROM base b LIMIT 1;

-- # a model that is not there
-- right: 42704, says "nonsense", hints at "trails.models"
SELECT trails.predict('nonsense', b) FROM base b LIMIT 1;

-- # a source of NULL
-- right: 22023, says "source"
SELECT * FROM trails.predict('m', NULL::regclass);

-- # a source of NULL as text
-- right: 22023, says "source"
SELECT * FROM trails.predict('m', NULL::text);

-- # a source that is not there
-- right: 42P01
SELECT * FROM trails.predict('m', 'no_such_table');

-- # an index as source
-- right: 42809
SELECT * FROM trails.predict('m', 'an_index');

-- # neither model nor deployed one
-- right: 42704, says "base", hints at "deploy"
SELECT * FROM trails.predict(NULL, 'base');

-- # version 1 by its number
-- right: success
-- rows: [(True,)]
SELECT trails.predict_score('m@1', b) IS NOT NULL FROM base b LIMIT 1;

-- # version 1 with a leading zero, or not at all
-- right: success
-- rows: [(True,)]
SELECT count(*) <= 1 FROM (SELECT 1 FROM trails.models WHERE name = 'm' AND version = 01) x;

-- # a name with quotes
-- right: success
-- rows: [(True,)]
SELECT trails.predict_score('O''Brien "x" 100%', b) IS NOT NULL FROM base b LIMIT 1;

-- # predictions do not depend on the session's settings
-- right: success
-- rows: [(True,)]
SET LOCAL TimeZone = 'Asia/Tokyo';
SET LOCAL DateStyle = 'German';
SET LOCAL IntervalStyle = 'iso_8601';
SET LOCAL extra_float_digits = 0;
CREATE TEMP TABLE one AS SELECT * FROM trails.predict('t', 'things');
SET LOCAL TimeZone = 'America/St_Johns';
SET LOCAL DateStyle = 'SQL, DMY';
-- then
SELECT count(*) FILTER (WHERE one.score IS DISTINCT FROM two.score) = 0 AND count(*) = 60 FROM one JOIN
    trails.predict('t', 'things') two USING (key);

-- # row by row what the whole says
-- right: success
-- rows: [(True,)]
SELECT max(abs(p.score - trails.predict_score('m', b))) < 1e-9 FROM base b JOIN trails.predict('m', 'base') p ON
    p.key = b.id::text;

-- # in parallel workers what one process says
-- right: success
-- rows: [(True,)]
SET LOCAL parallel_setup_cost = 0;
SET LOCAL parallel_tuple_cost = 0;
SET LOCAL min_parallel_table_scan_size = 0;
SET LOCAL max_parallel_workers_per_gather = 4;
ALTER TABLE base SET (parallel_workers = 4);
-- then
SELECT abs(sum(trails.predict_score('m', b)) - (SELECT sum(score) FROM trails.predict('m', 'base'))) < 1e-6 FROM
    base b;

-- # in a view that predicts for itself
-- right: success
-- rows: [(True,)]
CREATE VIEW scored AS SELECT b.*, trails.predict_score('m', b) AS s FROM base b;
-- then
SELECT count(*) = 600 FROM trails.predict('m', 'scored');

-- # in a view over a whole prediction
-- right: success
-- rows: [(True,)]
CREATE VIEW scored AS SELECT b.*, p.score FROM base b JOIN trails.predict('m', 'base') p ON p.key = b.id::text;
-- then
SELECT count(*) = 600 FROM trails.predict('m', 'scored');

-- # in a view that predicts without end
-- right: 54001 or success
CREATE FUNCTION again(r record) RETURNS float8 LANGUAGE plpgsql AS
    $$ BEGIN RETURN (SELECT max(score) FROM trails.predict('m', 'endless')); END $$;
CREATE VIEW endless AS SELECT b.*, again(b) AS s FROM base b;
-- then
SELECT count(*) FROM trails.predict('m', 'endless') p;

-- # in an index
-- right: 42P17 or 42703 or 42601 or 42P16 or 0A000 or 42704
CREATE INDEX ON base ((trails.predict_score('m', base)));

-- # in a condition, a window and an order
-- right: success
-- rows: [(True,)]
SELECT count(*) = 600 FROM (SELECT rank() OVER (ORDER BY trails.predict_score('m', b)) FROM base b WHERE
    trails.predict_score('m', b) > -1 ORDER BY trails.predict('c', b)) x;

-- # in a trigger
-- right: success
-- rows: [(True,)]
CREATE TABLE kept (LIKE base);
ALTER TABLE kept ADD s float8;
CREATE FUNCTION scoring() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN NEW.s := trails.predict_score('m', NEW); RETURN NEW; END $$;
CREATE TRIGGER scoring BEFORE INSERT ON kept FOR EACH ROW EXECUTE FUNCTION scoring();
INSERT INTO kept SELECT * FROM base;
-- then
SELECT count(s) = 600 FROM kept;

-- # in a loop with seventeen models
-- right: success
-- rows: [(True,)]
DO $$ BEGIN FOR i IN 1..17 LOOP PERFORM trails.import_model('many' || i, trails.export_model('m')); END LOOP; END $$;
-- then
SELECT count(DISTINCT trails.predict_score('many' || i, b)) = 1 FROM generate_series(1, 17) i, generate_series(1, 3)
    again, (SELECT * FROM base LIMIT 1) b;

-- # without a cache
-- right: success
-- rows: [(True,)]
SET LOCAL trails.model_cache_size = 0;
-- then
SELECT count(trails.predict_score('m', b)) = 600 FROM base b;

-- # of a model that was dropped in between
-- right: success
-- rows: [(True,)]
CREATE TEMP TABLE before AS SELECT * FROM trails.predict('m', 'base');
SELECT trails.drop_model('m@2');
-- then
SELECT count(*) = 600 FROM trails.predict('m', 'base');

-- # of a model that is gone
-- right: 42704, says "m", hints
SELECT trails.drop_model('m', true);
-- then
SELECT trails.predict_score('m', b) FROM base b;

-- # an encoding of nothing
-- right: 22023, says "model"
SELECT * FROM trails.encoding(NULL);

-- # an encoding of a model that is not there
-- right: 42704, hints
SELECT * FROM trails.encoding('nonsense');

-- # an encoding
-- right: success
-- rows: [(7,)]
SELECT count(*) FROM trails.encoding('m');
