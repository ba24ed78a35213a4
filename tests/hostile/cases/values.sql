-- Texts that look like something else, and what becomes of columns that cannot help.

-- # rows without a target are counted
-- right: success, tells "150 rows", tells "target"
-- rows: [(3,)]
CREATE TABLE holes AS SELECT id, hour, colour, CASE WHEN id % 4 > 0 THEN bought END AS y FROM base;
-- then
SELECT count(*) FROM trails.filtering_phase('holes', 'y', n => 20, k => 3);

-- # times that look like id:value
-- right: success
-- rows: [('time',)]
CREATE TABLE looks AS SELECT id, (hour || ':' || lpad((id % 60)::text, 2, '0')) AS starts, hour FROM base;
-- then
SELECT kind FROM trails.describe_columns('looks', '{starts}');

-- # an id:value that no integer holds
-- right: success
-- rows: [('text',)]
CREATE TABLE looks AS SELECT id, hour || ':1' AS x FROM base;
INSERT INTO looks VALUES (1, '99999999999999999999:1');
-- then
SELECT kind FROM trails.describe_columns('looks', '{x}');

-- # an id:value without end
-- right: success
-- rows: [(1,)]
CREATE TABLE looks AS SELECT id, hour || ':1' AS x FROM base;
INSERT INTO looks VALUES (1, '1:1e999');
-- then
SELECT count(*) FROM trails.describe_columns('looks', '{x}');

-- # numbers and dates as texts
-- right: success
-- rows: [(['date', 'float64', 'text'],)]
CREATE TABLE looks AS SELECT to_char(amount * 1000, 'FM999,990.00') AS revenue, to_char(seen, 'DD/MM/YYYY') AS day,
    CASE id % 3 WHEN 0 THEN '?' WHEN 1 THEN 'N/A' ELSE hour::text END AS hour, amount || ' €' AS price FROM base;
-- then
SELECT array_agg(DISTINCT kind) FROM trails.describe_columns('looks');

-- # texts that all differ are left out
-- right: success, tells '"x"', tells "left out"
-- rows: [(3,)]
CREATE TABLE looks AS SELECT md5(id::text) AS x, hour, bought FROM base;
-- then
SELECT count(*) FROM trails.filtering_phase('looks', 'bought', n => 20, k => 3);

-- # domains over domains
-- right: success
-- rows: [('text',)]
CREATE DOMAIN code AS text NOT NULL;
CREATE DOMAIN code2 AS code CHECK (VALUE <> 'zzz');
CREATE TABLE looks AS SELECT ('k' || hour)::code2 AS x, bought FROM base;
-- then
SELECT kind FROM trails.describe_columns('looks', '{x}');

-- # a domain over an array
-- right: success
-- rows: [(None,)]
CREATE DOMAIN many AS int[];
CREATE TABLE looks AS SELECT ARRAY[hour]::many AS x FROM base;
-- then
SELECT kind FROM trails.describe_columns('looks');

-- # a domain over an array, named
-- right: 0A000, says "x", hints
CREATE DOMAIN many AS int[];
CREATE TABLE looks AS SELECT ARRAY[hour]::many AS x FROM base;
-- then
SELECT kind FROM trails.describe_columns('looks', '{x}');

-- # one positive among rows of which some are alike
-- right: 22000 or success, hints
SELECT *, id = 77 AS y INTO rare FROM base;
-- then
SELECT count(*) FROM trails.filtering_phase('rare', 'y', n => 20, k => 3, tfmem => 'snip');
