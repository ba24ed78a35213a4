-- What is read: relations of every sort, and names of every sort.

-- # a sequence
-- right: 42809, says "a_sequence"
SELECT * FROM trails.describe_columns('a_sequence');

-- # a type of rows
-- right: 42809
SELECT * FROM trails.describe_columns((SELECT typrelid FROM pg_type WHERE typname = 'a_pair')::regclass);

-- # a TOAST table
-- right: 42809 or 42501
SELECT * FROM trails.describe_columns((SELECT reltoastrelid::regclass FROM pg_class WHERE relname = 'base' AND
    reltoastrelid > 0));

-- # a table that is not there
-- right: 42P01
SELECT * FROM trails.describe_columns('no_such_table');

-- # a query
-- right: 42602 or 42P01 or 42601
SELECT * FROM trails.describe_columns('(SELECT * FROM base) q');

-- # no relation
-- right: 22023, says "source"
SELECT * FROM trails.describe_columns(NULL);

-- # an OID of nothing
-- right: 42P01
SELECT * FROM trails.describe_columns(0::regclass);

-- # the largest OID
-- right: 42P01
SELECT * FROM trails.describe_columns(4294967295::oid::regclass);

-- # a table that was dropped
-- right: 42P01
CREATE TABLE gone (a int);
DROP TABLE gone;
-- then
SELECT * FROM trails.benchmark_reading('gone');

-- # a materialised view without rows
-- right: 55000, hints at "REFRESH"
SELECT count(*) FROM trails.filtering_phase('not_filled', 'bought', n => 20, k => 3);

-- # a foreign table without a wrapper
-- right: 55000
CREATE FOREIGN DATA WRAPPER nothing;
CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing;
CREATE FOREIGN TABLE far (a int) SERVER nowhere;
-- then
SELECT * FROM trails.describe_columns('far');

-- # a view that divides by zero
-- right: 22012
CREATE VIEW broken AS SELECT id, 1 / (id - 300) AS x, bought FROM base;
-- then
SELECT count(*) FROM trails.filtering_phase('broken', 'bought', n => 20, k => 3);

-- # a view that raises what it likes
-- right: P0007, hints at "never"
CREATE FUNCTION raising() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = 'P0007', HINT = 'never'; END $$;
CREATE VIEW raising_view AS SELECT id, raising() AS x, bought FROM base;
-- then
SELECT count(*) FROM trails.filtering_phase('raising_view', 'bought', n => 20, k => 3);

-- # a view that calls what reads it
-- right: 54001, hints at "stack"
CREATE FUNCTION again() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT count(*) FROM trails.describe_columns('endless')); END $$;
CREATE VIEW endless AS SELECT id, again() AS x FROM base;
-- then
SELECT * FROM trails.describe_columns('endless');

-- # a view with an order and a limit
-- right: success
-- rows: [(3,)]
SELECT count(*) FROM trails.filtering_phase('by_name', 'bought', features => '{colour,hour,amount}', n => 20, k =>
    3);

-- # a table of the catalogue
-- right: success
-- rows: [(True,)]
SELECT count(*) > 10 FROM trails.describe_columns('pg_catalog.pg_class');

-- # a catalogue's column as target
-- right: success
-- rows: [(3,)]
SELECT count(*) FROM trails.filtering_phase('pg_catalog.pg_class', 'relhasindex', features => '{relpages,relnatts}',
    n => 20, k => 3);

-- # a temporary table
-- right: success
-- rows: [(3,)]
CREATE TEMP TABLE mine AS SELECT * FROM base;
-- then
SELECT count(*) FROM trails.filtering_phase('pg_temp.mine', 'bought', n => 20, k => 3);

-- # an unlogged table
-- right: success
-- rows: [(3,)]
CREATE UNLOGGED TABLE fast AS SELECT * FROM base;
-- then
SELECT count(*) FROM trails.filtering_phase('fast', 'bought', n => 20, k => 3);

-- # a table by its OID
-- right: success
-- rows: [(3,)]
SELECT count(*) FROM trails.filtering_phase((SELECT 'base'::regclass), 'bought', n => 20, k => 3);

-- # columns that were dropped and added
-- right: success
-- rows: [(3,)]
CREATE TABLE changed AS SELECT * FROM base;
ALTER TABLE changed DROP hour, ADD later int DEFAULT 7, ADD more text;
-- then
SELECT count(*) FROM trails.filtering_phase('changed', 'bought', n => 20, k => 3);

-- # a child with columns in another order
-- right: success
-- rows: [(3,)]
CREATE TABLE parent (id int, colour text, hour int, bought bool);
CREATE TABLE child (bought bool, extra json) INHERITS (parent);
INSERT INTO child (id, colour, hour, bought) SELECT id, colour, hour, bought FROM base;
-- then
SELECT count(*) FROM trails.filtering_phase('parent', 'bought', n => 20, k => 3);

-- # partitions with columns in another order
-- right: success
-- rows: [(3,)]
CREATE TABLE parts (id int, colour text, hour int, bought bool) PARTITION BY RANGE (id);
CREATE TABLE low (bought bool, gone int, hour int, colour text, id int);
ALTER TABLE low DROP gone;
ALTER TABLE parts ATTACH PARTITION low FOR VALUES FROM (0) TO (300);
CREATE TABLE high PARTITION OF parts FOR VALUES FROM (300) TO (9999);
INSERT INTO parts SELECT id, colour, hour, bought FROM base;
-- then
SELECT count(*) FROM trails.filtering_phase('parts', 'bought', n => 20, k => 3);

-- # generated columns
-- right: success
-- rows: [(3,)]
CREATE TABLE made (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, hour int, twice int GENERATED ALWAYS AS (hour *
    2) STORED, y bool);
INSERT INTO made (hour, y) SELECT hour, bought FROM base;
-- then
SELECT count(*) FROM trails.filtering_phase('made', 'y', n => 20, k => 3);

-- # the smallest table is described
-- right: success
-- rows: [('a', 'int32', 0), ('y', 'boolean', 0)]
SELECT column_name, kind, rows FROM trails.describe_columns('empty_one');

-- # eighteen names are described
-- right: success
-- rows: [(18, 18)]
SELECT count(*), count(kind) FROM trails.describe_columns('names');

-- # eighteen names are filtered
-- right: success
-- rows: [(3,)]
SELECT count(*) FROM trails.filtering_phase('names', 'group', tfmem => 'snip', n => 20, k => 3);

-- # a name that is nearly there
-- right: 42703, says "groop", hints at "group"
SELECT count(*) FROM trails.filtering_phase('names', 'groop', n => 20, k => 3);

-- # a feature of 63 characters
-- right: success
-- rows: [(3,)]
SELECT count(*) FROM trails.filtering_phase('names', 'group', features =>
    '{this_is_a_column_name_of_exactly_sixty_three_characters_in_lengt,order}', n => 20, k => 3);

-- # a feature that is one blank
-- right: success
-- rows: [(3,)]
SELECT count(*) FROM trails.filtering_phase('names', 'group', features => '{" ",日本}', n => 20, k => 3);

-- # a relation with quotes in its name
-- right: success
-- rows: [(4,)]
SELECT count(*) FROM trails.describe_columns('"08e56f36-eea_sensor''s ""log"" 100%"');

-- # a relation with quotes, filtered
-- right: success
-- rows: [(3,)]
SELECT count(*) FROM trails.filtering_phase('hostile."08e56f36-eea_sensor''s ""log"" 100%"', 'bought', n => 20, k =>
    3);

-- # a column called like a variable
-- right: success
-- rows: [(True,)]
CREATE TABLE model AS SELECT id AS model, hour AS source, hour * 2 AS target, bought AS owner FROM base;
-- then
SELECT count(*) = 4 FROM trails.describe_columns('model');
