-- What an ordinary role tries with other people's rows.

-- # nothing was granted
-- right: 42501, as hostile_nobody
SELECT * FROM trails.describe_columns('base');

-- # nothing of the catalogue
-- right: 42501, as hostile_nobody
SELECT * FROM trails.runs;

-- # nothing of the models
-- right: 42501, as hostile_nobody
SELECT * FROM trails.models;

-- # another's table described
-- right: 42501, says "names", as hostile_ann
SELECT * FROM trails.describe_columns('names');

-- # another's table filtered
-- right: 42501, as hostile_ann
SELECT * FROM trails.filtering_phase('names', 'group');

-- # another's table selected for
-- right: 42501, as hostile_ann
SELECT * FROM trails.model_selection('names', 'group', '6 s');

-- # another's table read
-- right: 42501, as hostile_ann
SELECT * FROM trails.benchmark_reading('names');

-- # a column that was not granted
-- right: 42501, as hostile_ann
SELECT * FROM trails.filtering_phase('secrets', 'bought', features => '{secret}');

-- # another's table for validation
-- right: 42501 or 42703, as hostile_ann
SELECT * FROM trails.model_selection('base', 'bought', '6 s', validation => 'names');

-- # a schema that is closed
-- right: 42501, as hostile_ann
SELECT * FROM trails.describe_columns('hidden.orders');

-- # a table in a closed schema by its OID
-- right: 42501, as hostile_ann
SELECT * FROM trails.describe_columns((SELECT oid FROM pg_class WHERE relname = 'orders')::regclass);

-- # columns that were granted
-- right: success, as hostile_ann
-- rows: [(3,)]
SELECT count(*) FROM trails.filtering_phase('secrets', 'bought', n => 20, k => 3, features =>
    '{colour,hour,amount}');

-- # rows that are hers
-- right: success, as hostile_ann
-- rows: [(300,)]
SELECT rows FROM trails.describe_columns('secrets', '{hour}');

-- # rows of his
-- right: success, as hostile_bob
-- rows: [(300,)]
SELECT rows FROM trails.describe_columns('secrets', '{hour}');

-- # an owner's view of rows
-- right: success, as hostile_ann
-- rows: [(600,)]
CREATE VIEW all_secrets AS SELECT * FROM secrets;
GRANT SELECT ON all_secrets TO hostile_ann;
-- then
SELECT rows FROM trails.describe_columns('all_secrets', '{hour}');

-- # an invoker's view of rows
-- right: success, as hostile_ann
-- rows: [(300,)]
CREATE VIEW own_secrets WITH (security_invoker) AS SELECT id, hour, belongs FROM secrets;
GRANT SELECT ON own_secrets TO hostile_ann;
-- then
SELECT rows FROM trails.describe_columns('own_secrets', '{hour}');

-- # no policy for those who switch them off
-- right: 42501, as hostile_ann
SET LOCAL row_security = off;
-- then
SELECT rows FROM trails.describe_columns('secrets', '{hour}');

-- # a search path of nothing
-- right: success, as hostile_ann
-- rows: [(6,)]
SET LOCAL search_path = '';
-- then
SELECT count(*) FROM trails.describe_columns('hostile.base');

-- # a configuration of the server
-- right: 42501, hints at "pg_read_server_files", as hostile_ann
SELECT * FROM trails.benchmark_filtering_latency_in_db(1, 'base', 8, '/etc/passwd');

-- # another interpreter
-- right: 42501, as hostile_ann
SET LOCAL trails.virtualenv = '/tmp';

-- # another cluster
-- right: 42501, as hostile_ann
SET LOCAL trails.ray_address = 'elsewhere:6379';

-- # where the interpreter is
-- right: 42501, as hostile_ann
SHOW trails.virtualenv;
