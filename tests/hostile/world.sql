-- The tables and roles that hostile statements start from.

CREATE TABLE base AS
SELECT i AS id, (ARRAY['red', 'green', 'blue', 'yellow'])[1 + mod(i * 7919, 4)] AS colour, mod(i * 31, 24) AS hour,
       (mod(i * 104729, 97) + 0.5)::float8 AS amount,
       timestamp '2024-01-01' + mod(i * 7907, 700) * interval '1 day' AS seen,
       mod(i * 7919, 4) * 20 + mod(i * 104729, 97) > 85 AS bought
FROM generate_series(1, 600) i;
ALTER TABLE base ADD PRIMARY KEY (id);
ANALYZE base;

-- One table for every way of saying no.
CREATE TABLE empty_one (a int, y bool);
CREATE TABLE bare ();
CREATE TABLE one_row AS SELECT 1 AS a, true AS y;
CREATE TABLE two_rows AS SELECT i AS a, i = 1 AS y FROM generate_series(1, 2) i;
CREATE TABLE five_rows AS SELECT i AS a, i + 2 AS b, i % 2 = 0 AS y FROM generate_series(4, 8) i;
CREATE TABLE one_class AS SELECT id, colour, amount, false AS y FROM base;
CREATE TABLE no_target AS SELECT id, colour, NULL::bool AS y FROM base;
CREATE TABLE keys_only (a int PRIMARY KEY, y bool);
CREATE TABLE useless AS SELECT id, 3 AS three, NULL::int AS nothing, id::text AS label, bought AS y FROM base;
CREATE VIEW by_name AS SELECT * FROM base ORDER BY md5(id::text) LIMIT 300;
CREATE MATERIALIZED VIEW not_filled AS SELECT * FROM base WITH NO DATA;
CREATE INDEX an_index ON base (hour);
CREATE SEQUENCE a_sequence;
CREATE TYPE a_pair AS (a int, b text);

CREATE TABLE names AS
SELECT id, colour AS "select", colour AS "Цена, руб.", hour AS "order", amount AS "[bio].{x}:""v""", hour AS "km, 'far'",
       amount AS "année", hour AS "user", amount AS "%s {0} $1", hour AS "a\b\n", amount AS "Table", hour AS " ",
       amount AS "key", hour AS "score", colour AS prediction, hour AS "日本", bought AS "group",
       hour AS this_is_a_column_name_of_exactly_sixty_three_characters_in_lengt
FROM base;
CREATE TABLE "08e56f36-eea_sensor's ""log"" 100%" AS SELECT id AS "Nr.", colour AS "col;our--", amount, bought FROM base;
ALTER TABLE "08e56f36-eea_sensor's ""log"" 100%" ADD PRIMARY KEY ("Nr.");

DO $$ BEGIN
    EXECUTE (
        SELECT format('CREATE TABLE wide AS SELECT id, bought AS y, %s FROM base',
            string_agg(format('mod(id * %s, %s)::real AS f%s', 7 + i, 50 + i % 41, i), ', '))
        FROM generate_series(1, 200) i
    );
END $$;

-- Rights. The table `things` and the models come from Python.
GRANT trails_user TO hostile_ann, hostile_bob;
GRANT USAGE ON SCHEMA hostile TO hostile_ann, hostile_bob, hostile_nobody;
CREATE TABLE secrets AS
SELECT b.*, CASE WHEN id % 2 = 0 THEN 'hostile_ann' ELSE 'hostile_bob' END AS belongs, 'secret ' || id % 30 AS secret
FROM base b;
ALTER TABLE secrets ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON secrets USING (belongs = current_user);
GRANT SELECT (id, colour, hour, amount, seen, bought, belongs) ON secrets TO hostile_ann, hostile_bob;
GRANT SELECT ON base, things, by_name TO hostile_ann;
CREATE SCHEMA hidden;
CREATE TABLE hidden.orders AS SELECT * FROM base;
