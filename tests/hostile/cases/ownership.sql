-- What an ordinary role tries with other people's models and runs.

-- # a model of somebody else's
-- right: 42704, says "m", hints, as hostile_ann
SELECT trails.predict_score('m', b) FROM base b;

-- # somebody else's, named with the owner
-- right: 42704, says "m", hints, as hostile_ann
SELECT trails.predict_score('postgres/m', b) FROM base b;

-- # somebody else's in the registry
-- right: success, as hostile_ann
-- rows: [(0,)]
SELECT count(*) FROM trails.models;

-- # deploying somebody else's
-- right: 42501, says "m", as hostile_ann
SELECT trails.grant_model('m', 'public');
-- then
SELECT trails.deploy('m');

-- # dropping somebody else's
-- right: 42501, says "m", as hostile_ann
SELECT trails.grant_model('m', 'public');
-- then
SELECT trails.drop_model('m', true);

-- # granting somebody else's
-- right: 42501, says "m", as hostile_ann
SELECT trails.grant_model('m', 'public');
-- then
SELECT trails.grant_model('m', 'hostile_bob');

-- # a model that was granted
-- right: success, as hostile_ann
-- rows: [(600,)]
SELECT trails.grant_model('m', 'hostile_ann');
-- then
SELECT count(trails.predict('m', b)) FROM base b;

-- # a model that was granted and revoked
-- right: 42704, hints, as hostile_ann
SELECT trails.grant_model('m', 'hostile_ann');
SELECT trails.revoke_model('m', 'hostile_ann');
-- then
SELECT count(trails.predict('m', b)) FROM base b;

-- # importing without the right
-- right: 42501, as hostile_ann
SELECT trails.import_model('x', '\x00');

-- # a model of her own
-- right: success, as hostile_ann
-- rows: [(600,)]
CREATE TABLE blobs AS SELECT weights FROM trails.models WHERE name = 'm' AND version = 1;
GRANT SELECT ON blobs TO PUBLIC;
GRANT EXECUTE ON FUNCTION trails.import_model TO hostile_ann, hostile_bob;
SET LOCAL ROLE hostile_ann;
SELECT trails.import_model('hers', (SELECT weights FROM blobs));
RESET ROLE;
-- then
SELECT count(trails.predict('hers', b)) FROM base b;

-- # her model for him
-- right: 42704, hints, as hostile_bob
GRANT SELECT ON base TO hostile_bob;
CREATE TABLE blobs AS SELECT weights FROM trails.models WHERE name = 'm' AND version = 1;
GRANT SELECT ON blobs TO PUBLIC;
GRANT EXECUTE ON FUNCTION trails.import_model TO hostile_ann, hostile_bob;
SET LOCAL ROLE hostile_ann;
SELECT trails.import_model('hers', (SELECT weights FROM blobs));
RESET ROLE;
-- then
SELECT trails.predict('hostile_ann/hers', b) FROM base b;

-- # her model, granted to him
-- right: success, as hostile_bob
-- rows: [(600,)]
GRANT SELECT ON base TO hostile_bob;
CREATE TABLE blobs AS SELECT weights FROM trails.models WHERE name = 'm' AND version = 1;
GRANT SELECT ON blobs TO PUBLIC;
GRANT EXECUTE ON FUNCTION trails.import_model TO hostile_ann, hostile_bob;
SET LOCAL ROLE hostile_ann;
SELECT trails.import_model('hers', (SELECT weights FROM blobs));
SELECT trails.grant_model('hers', 'hostile_bob');
RESET ROLE;
-- then
SELECT count(trails.predict('hostile_ann/hers', b)) FROM base b;

-- # a granted model's name is not changed by others
-- right: 42501, as hostile_bob
CREATE TABLE blobs AS SELECT weights FROM trails.models WHERE name = 'm' AND version = 1;
GRANT SELECT ON blobs TO PUBLIC;
GRANT EXECUTE ON FUNCTION trails.import_model TO hostile_ann, hostile_bob;
SET LOCAL ROLE hostile_ann;
SELECT trails.import_model('hers', (SELECT weights FROM blobs));
SELECT trails.grant_model('hers', 'hostile_bob');
RESET ROLE;
-- then
DELETE FROM trails.models;

-- # a granted model's name shadowing one of his
-- right: 42501, as hostile_bob
GRANT SELECT ON base TO hostile_bob;
CREATE TABLE blobs AS SELECT weights FROM trails.models WHERE name = 'm' AND version = 1;
GRANT SELECT ON blobs TO PUBLIC;
GRANT EXECUTE ON FUNCTION trails.import_model TO hostile_ann, hostile_bob;
SET LOCAL ROLE hostile_ann;
SELECT trails.import_model('hers', (SELECT weights FROM blobs));
SELECT trails.grant_model('hers', 'public');
RESET ROLE;
-- then
SELECT trails.deploy('hers');

-- # a deployed model of a closed schema is passed over
-- right: success, as hostile_ann
-- rows: [(600,)]
SELECT trails.import_model('orders', trails.export_model('m'), source => 'hidden.orders', deploy => true),
    trails.import_model('own', trails.export_model('m'), source => 'base', deploy => true);
SELECT trails.grant_model('orders', 'public'), trails.grant_model('own', 'public');
-- then
SELECT count(*) FROM trails.predict(NULL, 'base');

-- # models of several owners are deployed for one table
-- right: 42725, hints, as hostile_ann
CREATE TABLE blobs AS SELECT weights FROM trails.models WHERE name = 'm' AND version = 1;
GRANT SELECT ON blobs TO PUBLIC;
GRANT EXECUTE ON FUNCTION trails.import_model TO hostile_ann, hostile_bob;
SET LOCAL ROLE hostile_bob;
SELECT trails.import_model('his', (SELECT weights FROM blobs), deploy => true), trails.grant_model('his', 'public');
RESET ROLE;
UPDATE trails.models SET source = 'hostile.base' WHERE name = 'his';
SELECT trails.import_model('own', trails.export_model('m'), source => 'base', deploy => true),
    trails.grant_model('own', 'public');
-- then
SELECT * FROM trails.predict(NULL, 'base');

-- # a forged model, written by hand
-- right: 42501 or 22023
CREATE TABLE blobs AS SELECT weights FROM trails.models WHERE name = 'm' AND version = 1;
GRANT SELECT ON blobs TO PUBLIC;
SET LOCAL ROLE hostile_ann;
-- then
INSERT INTO trails.models (name, version, task, architecture, target, columns, encoder, metrics, digest, weights)
    SELECT 'forged', 1, 'binary', '1', 'y', '{}', '[]', '{}', sha256('x'), 'x';

-- # a forged owner
-- right: 42501, as hostile_ann
CREATE TABLE blobs AS SELECT weights FROM trails.models WHERE name = 'm' AND version = 1;
GRANT SELECT ON blobs TO PUBLIC;
GRANT EXECUTE ON FUNCTION trails.import_model TO hostile_ann, hostile_bob;
SET LOCAL ROLE hostile_ann;
SELECT trails.import_model('hers', (SELECT weights FROM blobs));
RESET ROLE;
-- then
INSERT INTO trails.models (name, version, owner, task, architecture, target, columns, encoder, metrics, digest,
    weights) SELECT name, 2, 'hostile_bob', task, architecture, target, columns, encoder, metrics, digest, weights
    FROM trails.models;

-- # a model that is given away
-- right: 42501, as hostile_ann
CREATE TABLE blobs AS SELECT weights FROM trails.models WHERE name = 'm' AND version = 1;
GRANT SELECT ON blobs TO PUBLIC;
GRANT EXECUTE ON FUNCTION trails.import_model TO hostile_ann, hostile_bob;
SET LOCAL ROLE hostile_ann;
SELECT trails.import_model('hers', (SELECT weights FROM blobs));
RESET ROLE;
-- then
UPDATE trails.models SET owner = 'hostile_bob';

-- # a model that was deployed for ever
-- right: 42501, as hostile_ann
CREATE TABLE blobs AS SELECT weights FROM trails.models WHERE name = 'm' AND version = 1;
GRANT SELECT ON blobs TO PUBLIC;
GRANT EXECUTE ON FUNCTION trails.import_model TO hostile_ann, hostile_bob;
SET LOCAL ROLE hostile_ann;
SELECT trails.import_model('hers', (SELECT weights FROM blobs));
RESET ROLE;
-- then
UPDATE trails.models SET deployed = 'infinity';

-- # weights that are exchanged
-- right: 42501, as hostile_ann
CREATE TABLE blobs AS SELECT weights FROM trails.models WHERE name = 'm' AND version = 1;
GRANT SELECT ON blobs TO PUBLIC;
GRANT EXECUTE ON FUNCTION trails.import_model TO hostile_ann, hostile_bob;
SET LOCAL ROLE hostile_ann;
SELECT trails.import_model('hers', (SELECT weights FROM blobs));
RESET ROLE;
-- then
UPDATE trails.models SET weights = 'x', digest = sha256('x');

-- # a number of her own for a model
-- right: 42501, as hostile_ann
CREATE TABLE blobs AS SELECT weights FROM trails.models WHERE name = 'm' AND version = 1;
GRANT SELECT ON blobs TO PUBLIC;
GRANT EXECUTE ON FUNCTION trails.import_model TO hostile_ann, hostile_bob;
SET LOCAL ROLE hostile_ann;
SELECT trails.import_model('hers', (SELECT weights FROM blobs));
RESET ROLE;
-- then
INSERT INTO trails.models (model_id, name, version, task, architecture, target, columns, encoder, metrics, digest,
    weights) OVERRIDING SYSTEM VALUE SELECT 999999, name, 2, task, architecture, target, columns, encoder, metrics,
    digest, weights FROM trails.models;

-- # a grant to a role that is not there, by hand
-- right: 42501 or 23503 or 42704, as hostile_ann
CREATE TABLE blobs AS SELECT weights FROM trails.models WHERE name = 'm' AND version = 1;
GRANT SELECT ON blobs TO PUBLIC;
GRANT EXECUTE ON FUNCTION trails.import_model TO hostile_ann, hostile_bob;
SET LOCAL ROLE hostile_ann;
SELECT trails.import_model('hers', (SELECT weights FROM blobs));
RESET ROLE;
-- then
INSERT INTO trails.model_grants (name, grantee) VALUES ('hers', 'no_such_role');

-- # a grant of somebody else's, by hand
-- right: 42501, as hostile_ann
INSERT INTO trails.model_grants (owner, name, grantee) VALUES ('postgres', 'm', 'hostile_ann');

-- # a run under somebody else's name
-- right: 42501, as hostile_ann
INSERT INTO trails.runs (owner, function, source, target, task, metric, features, space, refinement, seed,
    train_rows, unusable_rows, state, started, finished, reading_seconds, refinement_seconds, total_seconds) VALUES
    ('hostile_bob', 'model_selection', 's', 't', 'binary', 'auc', '{a}', 'mlp4x20', 'sh', 1, 1, 0, 'complete',
    now(), now(), 0, 0, 0);

-- # a run under a number of her own
-- right: 42501, as hostile_ann
INSERT INTO trails.runs (run_id, function, source, target, task, metric, features, space, refinement, seed,
    train_rows, unusable_rows, state, started, finished, reading_seconds, refinement_seconds, total_seconds)
    OVERRIDING SYSTEM VALUE VALUES (1000, 'model_selection', 's', 't', 'binary', 'auc', '{a}', 'mlp4x20', 'sh', 1,
    1, 0, 'complete', now(), now(), 0, 0, 0);

-- # the leaderboard of somebody else's run
-- right: 42704 or 42501, as hostile_ann
INSERT INTO trails.runs (function, source, target, task, metric, features, space, refinement, seed, train_rows,
    unusable_rows, state, started, finished, reading_seconds, refinement_seconds, total_seconds) VALUES
    ('model_selection', 's', 't', 'binary', 'auc', '{a}', 'mlp4x20', 'sh', 1, 1, 0, 'complete', now(), now(), 0, 0,
    0);
-- then
SELECT * FROM trails.leaderboard((SELECT last_value FROM trails.runs_run_id_seq));

-- # the recipe of somebody else's run
-- right: 42704 or 42501, as hostile_ann
INSERT INTO trails.runs (function, source, target, task, metric, features, space, refinement, seed, train_rows,
    unusable_rows, state, started, finished, reading_seconds, refinement_seconds, total_seconds) VALUES
    ('model_selection', 's', 't', 'binary', 'auc', '{a}', 'mlp4x20', 'sh', 1, 1, 0, 'complete', now(), now(), 0, 0,
    0);
-- then
SELECT trails.recipe((SELECT last_value FROM trails.runs_run_id_seq));

-- # resuming somebody else's run
-- right: 42704 or 42501, as hostile_ann
INSERT INTO trails.runs (function, source, target, task, metric, features, space, refinement, seed, train_rows,
    unusable_rows, state, started, finished, reading_seconds, refinement_seconds, total_seconds) VALUES
    ('model_selection', 's', 't', 'binary', 'auc', '{a}', 'mlp4x20', 'sh', 1, 1, 0, 'complete', now(), now(), 0, 0,
    0);
-- then
SELECT * FROM trails.resume(currval('trails.runs_run_id_seq'));

-- # resuming a run that is complete
-- right: 55000, hints
INSERT INTO trails.runs (function, source, target, task, metric, features, space, refinement, seed, train_rows,
    unusable_rows, state, started, finished, reading_seconds, refinement_seconds, total_seconds) VALUES
    ('model_selection', 's', 't', 'binary', 'auc', '{a}', 'mlp4x20', 'sh', 1, 1, 0, 'complete', now(), now(), 0, 0,
    0);
-- then
SELECT * FROM trails.resume((SELECT max(run_id) FROM trails.runs), '6 s');

-- # resuming a run whose table is gone
-- right: 42P01 or 55000
INSERT INTO trails.runs (function, source, target, task, metric, features, space, refinement, seed, train_rows,
    unusable_rows, state, started, finished, reading_seconds, refinement_seconds, total_seconds) VALUES
    ('model_selection', 's', 't', 'binary', 'auc', '{a}', 'mlp4x20', 'sh', 1, 1, 0, 'complete', now(), now(), 0, 0,
    0);
UPDATE trails.runs SET state = 'best so far';
INSERT INTO trails.checkpoints SELECT run_id, 0, 'x' FROM trails.runs;
-- then
SELECT * FROM trails.resume((SELECT max(run_id) FROM trails.runs), '6 s');

-- # resuming from a checkpoint that is none
-- right: 22023 or 55000 or XX001, hints
INSERT INTO trails.runs (function, source, target, task, metric, features, space, refinement, seed, train_rows,
    unusable_rows, state, started, finished, reading_seconds, refinement_seconds, total_seconds) VALUES
    ('model_selection', 's', 't', 'binary', 'auc', '{a}', 'mlp4x20', 'sh', 1, 1, 0, 'complete', now(), now(), 0, 0,
    0);
UPDATE trails.runs SET state = 'best so far', source = 'hostile.base', target = 'bought', features =
    '{colour,hour}';
INSERT INTO trails.checkpoints SELECT run_id, 0, 'x' FROM trails.runs;
-- then
SELECT * FROM trails.resume((SELECT max(run_id) FROM trails.runs), '10 s');

-- # candidates of somebody else's run
-- right: 42501, as hostile_ann
INSERT INTO trails.runs (function, source, target, task, metric, features, space, refinement, seed, train_rows,
    unusable_rows, state, started, finished, reading_seconds, refinement_seconds, total_seconds) VALUES
    ('model_selection', 's', 't', 'binary', 'auc', '{a}', 'mlp4x20', 'sh', 1, 1, 0, 'complete', now(), now(), 0, 0,
    0);
-- then
INSERT INTO trails.candidates (run_id, architecture) VALUES ((SELECT last_value FROM trails.runs_run_id_seq), 'x');

-- # somebody else's runs are not seen
-- right: success, as hostile_ann
-- rows: [(0,)]
INSERT INTO trails.runs (function, source, target, task, metric, features, space, refinement, seed, train_rows,
    unusable_rows, state, started, finished, reading_seconds, refinement_seconds, total_seconds) VALUES
    ('model_selection', 's', 't', 'binary', 'auc', '{a}', 'mlp4x20', 'sh', 1, 1, 0, 'complete', now(), now(), 0, 0,
    0);
-- then
SELECT count(*) FROM trails.runs;

-- # somebody else's runs are not deleted
-- right: 42501, as hostile_ann
INSERT INTO trails.runs (function, source, target, task, metric, features, space, refinement, seed, train_rows,
    unusable_rows, state, started, finished, reading_seconds, refinement_seconds, total_seconds) VALUES
    ('model_selection', 's', 't', 'binary', 'auc', '{a}', 'mlp4x20', 'sh', 1, 1, 0, 'complete', now(), now(), 0, 0,
    0);
-- then
DELETE FROM trails.runs;

-- # a definer's function for those without rights
-- right: 42501, as hostile_nobody
CREATE FUNCTION scored(i int) RETURNS float8 LANGUAGE sql SECURITY DEFINER SET search_path = '' AS
    $$ SELECT trails.predict_score('m', t) FROM hostile.base t WHERE id = i $$;
REVOKE EXECUTE ON FUNCTION scored FROM PUBLIC;
-- then
SELECT scored(1);

-- # a definer's function predicts with the definer's models
-- right: success, as hostile_nobody
-- rows: [(True,)]
CREATE FUNCTION scored(i int) RETURNS float8 LANGUAGE sql SECURITY DEFINER SET search_path = '' AS
    $$ SELECT trails.predict_score('m', t) FROM hostile.base t WHERE id = i $$;
-- then
SELECT scored(2) IS NOT NULL;
