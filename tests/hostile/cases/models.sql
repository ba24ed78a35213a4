-- Models that are deployed, dropped, granted, exported and imported as they should not be.

-- # deploying a version that is not there
-- right: 42704, says "m@77", hints
SELECT * FROM trails.deploy('m@77');

-- # deploying a version of 200,000 digits
-- right: 42704 or 22023, hints
SELECT * FROM trails.deploy('m@' || repeat('9', 200000));

-- # finding a version of 200,000 digits
-- right: 42704 or 22023, hints
SELECT * FROM trails.find_model('base@' || repeat('9', 200000));

-- # rolling back what was never deployed
-- right: 55000, hints at "deploy"
SELECT * FROM trails.rollback('m');

-- # rolling back the first
-- right: 55000, hints
SELECT trails.deploy('m@1');
-- then
SELECT * FROM trails.rollback('m');

-- # deploying and rolling back
-- right: success
-- rows: [(1, 2)]
SELECT trails.deploy('m@1');
SELECT trails.deploy('m@2');
-- then
SELECT * FROM trails.rollback('m');

-- # deploying twice
-- right: success
-- rows: [('m', 1, None)]
SELECT trails.deploy('m@1');
-- then
SELECT name, version, replaced FROM trails.deploy('m@1');

-- # dropping one of several
-- right: 42P08, hints at "m@2"
SELECT trails.drop_model('m');

-- # dropping all
-- right: success
-- rows: [(2,)]
SELECT trails.drop_model('m', true);

-- # dropping all or not
-- right: 42P08 or 22023, hints
SELECT trails.drop_model('m', NULL);

-- # granting to a role that is not there
-- right: 42704, says "no_such_role", hints
SELECT trails.grant_model('m', 'no_such_role');

-- # granting to nobody
-- right: 22023, says "grantee"
SELECT trails.grant_model('m', NULL);

-- # granting to a role of 63 letters
-- right: 42704
SELECT trails.grant_model('m', repeat('x', 63)::name);

-- # revoking what was not granted
-- right: success
-- rows: [(False,)]
SELECT trails.revoke_model('m', 'public');

-- # revoking from a role that is not there
-- right: 42704, says "no_such_role", hints
SELECT trails.revoke_model('m', 'no_such_role');

-- # granting twice
-- right: success
-- rows: [(1,)]
SELECT trails.grant_model('m', 'public');
-- then
SELECT count(trails.grant_model('m', 'public'));

-- # a format that is not there
-- right: 22023, says "pickle", hints at "onnx"
SELECT trails.export_model('m', 'pickle');

-- # a format of NULL
-- right: 22023, says "format"
SELECT trails.export_model('m', NULL);

-- # converting nothing
-- right: 22023, says "weights"
SELECT trails.convert_model(NULL, 'onnx');

-- # converting what is no model
-- right: 22023
SELECT trails.convert_model('\x00', 'onnx');

-- # converting to its own format
-- right: success
-- rows: [(True,)]
SELECT trails.convert_model(weights, 'safetensors') = weights FROM trails.models WHERE name = 'm' AND version = 1;

-- # exporting
-- right: success
-- rows: [(True,)]
SELECT length(trails.export_model('m')) > 1000 AND length(trails.export_model('t', 'onnx')) > 1000;

-- # checked weights of nothing
-- right: success
-- rows: [(None,)]
SELECT trails.checked_weights(NULL);

-- # neither model nor table
-- right: 22023, hints
SELECT * FROM trails.find_model(NULL, NULL, 'y');

-- # several targets deployed
-- right: 42P08, hints
UPDATE trails.models SET target = 'z' WHERE name = 'c';
SELECT trails.deploy('c'), trails.deploy('m');
-- then
SELECT * FROM trails.predict(NULL, 'base');

-- # one of several targets
-- right: success
-- rows: [(600,)]
UPDATE trails.models SET target = 'z' WHERE name = 'c';
SELECT trails.deploy('c'), trails.deploy('m');
-- then
SELECT count(*) FROM trails.predict(NULL, 'base', 'z');

-- # the deployed model of a table that was renamed
-- right: success
-- rows: [(600,)]
SELECT trails.drop_model('m', true), trails.import_model('renamed', (SELECT weights FROM trails.models WHERE name =
    'm' AND version = 1), source => 'base', deploy => true);
ALTER TABLE base RENAME TO base_of_old;
-- then
SELECT count(*) FROM trails.predict(NULL, 'base_of_old');

-- # the deployed model of a table that was moved
-- right: success
-- rows: [(600,)]
SELECT trails.import_model('moved', trails.export_model('m'), source => 'base', deploy => true);
ALTER TABLE base SET SCHEMA public;
-- then
SELECT count(*) FROM trails.predict(NULL, 'public.base');

-- # the deployed model of a table that was dropped: its name stands for it, as after a restore
-- right: 42703, says "colour", hints
CREATE TABLE short AS SELECT * FROM base;
SELECT trails.import_model('short', trails.export_model('m'), source => 'short', deploy => true);
DROP TABLE short;
CREATE TABLE short AS SELECT 1 AS a;
-- then
SELECT count(*) FROM trails.predict(NULL, 'short');

-- # importing what is no model
-- right: 22023
SELECT trails.import_model('x', 'nonsense');

-- # importing nothing
-- right: 22023, says "weights"
SELECT trails.import_model('x', NULL);

-- # importing and deploying or not
-- right: 22023, says "deploy"
SELECT trails.import_model('x', trails.export_model('m'), NULL, NULL);

-- # importing for a table that is not there
-- right: 42P01
SELECT trails.import_model('x', trails.export_model('m'), 4294967295::oid);

-- # importing with a role in the name
-- right: 22023, hints
SELECT trails.import_model('hostile_bob/m', trails.export_model('m'));

-- # importing with a version in the name
-- right: 22023, hints
SELECT trails.import_model('m@1', trails.export_model('m'));

-- # weights that are not those that were stored
-- right: XX001, says "t", hints
UPDATE trails.models SET weights = set_byte(weights, length(weights) - 1, 1 + get_byte(weights, length(weights) - 1)
    % 255) WHERE name = 't';
-- then
SELECT count(*) FROM trails.predict('t', 'things');

-- # weights that are not those that were stored, exported
-- right: XX001, says "t", hints
UPDATE trails.models SET weights = weights || '\x00' WHERE name = 't';
-- then
SELECT trails.export_model('t');

-- # a digest of nothing
-- right: XX001 or 23514 or 42501
UPDATE trails.models SET digest = '' WHERE name = 't';
-- then
SELECT trails.predict('t', t) FROM things t;

-- # a source of five names
-- right: success
-- rows: [(600,)]
UPDATE trails.models SET source = 'a.b.c.d.e', state = 'deployed', deployed = now() WHERE name = 'c';
SELECT trails.deploy('m');
-- then
SELECT count(*) FROM trails.predict(NULL, 'base');

-- # a source that is no name
-- right: success
-- rows: [(600,)]
UPDATE trails.models SET source = '"', state = 'deployed', deployed = now() WHERE name = 'c';
SELECT trails.deploy('m');
-- then
SELECT count(*) FROM trails.predict(NULL, 'base');

-- # a source of 1 MB
-- right: success
-- rows: [(600,)]
UPDATE trails.models SET source = repeat('x', 1000000), state = 'deployed', deployed = now() WHERE name = 'c';
SELECT trails.deploy('m');
-- then
SELECT count(*) FROM trails.predict(NULL, 'base');
