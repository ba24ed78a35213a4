-- Tables that other selectors fail on, and that are learnt: what other `arguments` the selection gets, what it `tells` in a
-- notice, what is `true` of the model's row m and its predictions p.

-- # ten rows whose texts are all rare
SELECT 't' || i % 5 AS a, i % 2 AS b, i % 2 = 0 AS y FROM generate_series(1, 10) i;

-- # NULLs in every feature and in the target
-- tells: 150 rows
SELECT id, colour, CASE WHEN id % 5 > 0 THEN amount END AS amount, hour, CASE WHEN id % 4 > 0 THEN bought END AS y
    FROM base UNION ALL SELECT 10000 + i, NULL, NULL, NULL, i % 2 = 0 FROM generate_series(1, 20) i;

-- # a class of five rows
-- true: m.classes = ARRAY['0', '1']
SELECT i AS id, sin(i * 12.9898) AS f0, sin(i * 78.233) AS f1, (i > 550)::int AS y FROM generate_series(1, 555) i;

-- # classes of one and two rows
-- true: m.classes @> ARRAY['once', 'twice'] AND cardinality(m.classes) = 4
SELECT i AS id, sin(i * 12.9898) AS f0, i % 7 AS f1, CASE WHEN i = 1 THEN 'once' WHEN i < 4 THEN 'twice' WHEN i % 2
    = 0 THEN 'even' ELSE 'odd' END AS y FROM generate_series(1, 300) i;

-- # labels of every sort come back byte by byte
-- true: cardinality(m.classes) = 13 AND NOT EXISTS (SELECT p.prediction EXCEPT SELECT y FROM learnt)
SELECT id, hour, amount, (ARRAY['Ménage à 3', '', ' ', 'NULL', 'null', 'nan', 'NaN', 'None', E'tab\tnew\nline',
    'a"b''c\d', '日本語', 'é', E'e\u0301'])[1 + hour % 13] AS y FROM base;

-- # names that need quotes
-- arguments: target => 'group'
-- true: p.score BETWEEN 0 AND 1
SELECT * FROM names;

-- # a feature of one value and NULLs, and one with a spike
-- arguments: options => '{"bins": 0, "max_epochs": 1}', split => 'held'
-- tells: three, left out
SELECT id, CASE WHEN id % 9 > 0 THEN 0.5::float8 END AS half, NULL::int AS nothing, 3 AS three, (CASE WHEN id = 13
    THEN 1e6 ELSE 0 END)::float8 AS spike, hour, bought AS y, id % 5 = 0 AS held FROM base;

-- # targets of 1e200
-- true: abs(p.score) < 1e205
SELECT id, colour, hour, amount, (hour * 3 + amount) * 1e200 AS y FROM base;

-- # infinite dates and NaN
SELECT id, CASE id % 7 WHEN 0 THEN 'infinity'::date WHEN 1 THEN '9999-12-31' ELSE seen::date END AS d, CASE WHEN id
    % 3 = 0 THEN 'NaN' ELSE amount END AS amount, bought AS y FROM base;

-- # 200 columns
SELECT * FROM wide;

-- # a class that only validation has
-- arguments: validation => 'held'
-- tells: green
-- true: m.classes <@ ARRAY['blue', 'red', 'green']
SELECT id, amount, hour, colour AS y FROM base WHERE colour IN ('red', 'blue');
