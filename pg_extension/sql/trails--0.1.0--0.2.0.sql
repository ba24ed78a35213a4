-- From 0.1.0 to 0.2.0: tables of every kind, tasks, a registry of models and prediction, rights by the role trails_user.
-- Runs and their learning curves stay. Released scripts are never edited.

\echo Use "ALTER EXTENSION trails UPDATE TO '0.2.0'" to load this file. \quit

DROP FUNCTION benchmark_reading(regclass, integer);
DROP FUNCTION model_selection(regclass, name, interval, name[], regclass, text, tfmem, text, integer, integer, integer, bigint, integer, jsonb);
DROP FUNCTION model_selection_workloads(regclass, name, integer, integer, integer, name[], regclass, text, tfmem, text, bigint, integer, jsonb);
DROP FUNCTION profile_refinement(regclass, name, text[], name[], regclass, text, bigint, jsonb);
DROP FUNCTION refinement_phase(regclass, name, text[], integer, interval, name[], regclass, text, text, bigint, jsonb);
DROP FUNCTION resume(bigint, interval);

-- Metrics other than AUC, and what a run was asked for.
ALTER TABLE runs ADD COLUMN task text NOT NULL DEFAULT 'binary' CHECK (task IN ('binary', 'multiclass', 'regression'));
ALTER TABLE runs ALTER COLUMN task DROP DEFAULT;
ALTER TABLE runs ADD COLUMN metric text NOT NULL DEFAULT 'auc';
ALTER TABLE runs ALTER COLUMN metric DROP DEFAULT;
ALTER TABLE runs ADD COLUMN model text;
ALTER TABLE runs ADD COLUMN split name;
ALTER TABLE candidates RENAME COLUMN validation_auc TO validation_metric;
ALTER TABLE trials RENAME COLUMN validation_auc TO validation_metric;
COMMENT ON COLUMN runs.metric IS 'what validation_metric is: auc, accuracy or r2; higher is better';
COMMENT ON COLUMN runs.model IS 'the name under which the winner was to be kept';
COMMENT ON COLUMN runs.split IS 'the column that says which rows are held out';
COMMENT ON COLUMN candidates.rank IS 'place on the leaderboard by validation metric; NULL when it was never trained for a whole epoch';
-- Rights come by the role trails_user from now on.
REVOKE SELECT, INSERT, DELETE ON runs, candidates, trials, timings, checkpoints FROM PUBLIC;
-- Checkpoints of the earlier release cannot be gone on from.
DELETE FROM checkpoints;

-- The registry: models that selections have stored, which of them are deployed, and who may use them.
-- Everything runs as the caller: row-level security shows each role its own models and those granted to it, and lets it
-- change its own only.

CREATE TABLE models (
    model_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name            text NOT NULL CHECK (name <> '' AND length(name) <= 200 AND name !~ '@[0-9]+$'),
    version         integer NOT NULL CHECK (version > 0),
    owner           name NOT NULL DEFAULT current_user,
    run_id          bigint REFERENCES runs ON DELETE SET NULL,
    state           text NOT NULL DEFAULT 'candidate' CHECK (state IN ('candidate', 'deployed', 'archived')),
    task            text NOT NULL CHECK (task IN ('binary', 'multiclass', 'regression')),
    architecture    text NOT NULL,
    source          text,
    target          name NOT NULL,
    columns         jsonb NOT NULL,
    classes         text[],
    encoder         jsonb NOT NULL,
    metrics         jsonb NOT NULL,
    digest          bytea NOT NULL,
    weights         bytea NOT NULL,
    created         timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    deployed        timestamptz,
    UNIQUE (owner, name, version)
);
-- Two sessions that deploy at once cannot both succeed for one name.
CREATE UNIQUE INDEX models_deployed ON models (owner, name) WHERE state = 'deployed';
CREATE INDEX models_run_id ON models (run_id);
-- Weights hardly get smaller, and decompressing them would be paid by every session that predicts.
ALTER TABLE models ALTER COLUMN weights SET STORAGE EXTERNAL;
COMMENT ON TABLE models IS 'trained models by name and version, with everything that trails.predict needs';
COMMENT ON COLUMN models.state IS '''candidate'' until it is deployed, ''deployed'', ''archived'' once another version is';
COMMENT ON COLUMN models.source IS 'the relation it was trained on; NULL of an imported model that named none';
COMMENT ON COLUMN models.columns IS 'the columns that a source must have to predict, with the kind of each';
COMMENT ON COLUMN models.classes IS 'the classes in the order of probabilities; NULL for regression';
COMMENT ON COLUMN models.encoder IS 'how columns become fields; trails.encoding(model) shows what each has learnt';
COMMENT ON COLUMN models.metrics IS 'of the validation rows';
COMMENT ON COLUMN models.digest IS 'SHA-256 of weights, checked whenever they are read';
COMMENT ON COLUMN models.weights IS 'weights and encoder as safetensors';
COMMENT ON COLUMN models.deployed IS 'when it was last deployed; trails.rollback goes back in this order';

CREATE TABLE model_grants (
    owner           name NOT NULL DEFAULT current_user,
    name            text NOT NULL,
    grantee         name NOT NULL,
    PRIMARY KEY (owner, name, grantee)
);
COMMENT ON TABLE model_grants IS 'roles that may predict with the models of a name: trails.grant_model and trails.revoke_model';

-- A role that was dropped matches nobody; looking it up by name would be an error.
CREATE FUNCTION is_member(role name) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
    RETURN role = 'public' OR EXISTS (
        SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = role AND pg_catalog.pg_has_role(r.oid, 'USAGE')
    );
COMMENT ON FUNCTION is_member IS 'whether the caller is the role or has its rights';

ALTER TABLE models ENABLE ROW LEVEL SECURITY;
ALTER TABLE model_grants ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_models ON models USING (owner = current_user) WITH CHECK (owner = current_user);
CREATE POLICY granted_models ON models FOR SELECT USING (EXISTS (
    SELECT FROM model_grants g WHERE g.owner = models.owner AND g.name = models.name AND is_member(g.grantee)
));
CREATE POLICY own_grants ON model_grants USING (owner = current_user) WITH CHECK (owner = current_user);
CREATE POLICY grants_to_me ON model_grants FOR SELECT USING (is_member(grantee));

SELECT pg_catalog.pg_extension_config_dump('models', '');
SELECT pg_catalog.pg_extension_config_dump('models_model_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('model_grants', '');

CREATE FUNCTION find_model(model text, source regclass DEFAULT NULL, target name DEFAULT NULL) RETURNS SETOF models
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    base text := regexp_replace(model, '@[0-9]+$', '');
    wanted numeric := substring(model FROM '@([0-9]+)$')::numeric;
    owners name[];
    found_ids bigint[];
BEGIN
    IF model IS NULL THEN
        IF source IS NULL THEN
            RAISE EXCEPTION 'no model is named' USING ERRCODE = 'invalid_parameter_value',
                HINT = 'Name one of trails.models, or the table whose deployed model is meant.';
        END IF;
        SELECT array_agg(m.model_id ORDER BY m.owner = current_user DESC, m.deployed DESC) INTO found_ids
        FROM trails.models m
        WHERE m.state = 'deployed' AND to_regclass(m.source) = find_model.source
          AND (find_model.target IS NULL OR m.target = find_model.target);
        IF found_ids IS NULL THEN
            RAISE EXCEPTION 'no model of % is deployed', source || coalesce(' that predicts ' || quote_ident(target), '')
                USING ERRCODE = 'undefined_object',
                HINT = 'trails.deploy(model) deploys one; trails.models shows those there are.';
        END IF;
        IF target IS NULL AND (SELECT count(DISTINCT m.target) > 1 FROM trails.models m WHERE m.model_id = ANY (found_ids))
        THEN
            RAISE EXCEPTION 'models of % for several targets are deployed', source
                USING ERRCODE = 'ambiguous_parameter', HINT = 'Name the target, or the model.';
        END IF;
        RETURN QUERY SELECT m.* FROM trails.models m WHERE m.model_id = found_ids[1];
        RETURN;
    END IF;
    SELECT array_agg(DISTINCT m.owner) INTO owners FROM trails.models m
    WHERE (m.name = base OR m.owner || '/' || m.name = base) AND (wanted IS NULL OR m.version = wanted);
    IF owners IS NULL THEN
        RAISE EXCEPTION 'there is no model "%"', model USING ERRCODE = 'undefined_object',
            HINT = 'SELECT name, version, state FROM trails.models shows those that you may use.';
    END IF;
    IF cardinality(owners) > 1 AND current_user <> ALL (owners) THEN
        RAISE EXCEPTION 'several roles have a model "%"', model USING ERRCODE = 'ambiguous_parameter',
            HINT = format('Say whose: %L.', owners[1] || '/' || model);
    END IF;
    RETURN QUERY
        SELECT m.* FROM trails.models m
        WHERE (m.name = base OR m.owner || '/' || m.name = base) AND (wanted IS NULL OR m.version = wanted)
        ORDER BY m.owner = current_user DESC, m.state = 'deployed' DESC, m.version DESC LIMIT 1;
END $$;
COMMENT ON FUNCTION find_model IS
    'the model that a name means: its deployed version, else its latest; name@3 is version 3, owner/name another role''s';

-- One of the caller's own models, and no other session deploys its name until the end of the transaction.
CREATE FUNCTION own_model(model text) RETURNS models
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    chosen trails.models;
BEGIN
    IF model IS NULL THEN
        RAISE EXCEPTION 'model must not be NULL' USING ERRCODE = 'invalid_parameter_value',
            HINT = 'SELECT name, version, state FROM trails.models shows those that you may use.';
    END IF;
    SELECT * INTO STRICT chosen FROM trails.find_model(model);
    IF chosen.owner <> current_user AND NOT (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = current_user) THEN
        RAISE EXCEPTION 'the model "%" belongs to %', model, chosen.owner USING ERRCODE = 'insufficient_privilege';
    END IF;
    PERFORM trails.lock_model_name(chosen.owner, chosen.name);
    -- Once more: another session may have changed it while this one waited.
    SELECT * INTO chosen FROM trails.models m WHERE m.model_id = chosen.model_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the model "%" has just been dropped', model USING ERRCODE = 'undefined_object';
    END IF;
    RETURN chosen;
END $$;
COMMENT ON FUNCTION own_model IS 'the caller''s model of that name, locked against other sessions';

CREATE FUNCTION lock_model_name(owner name, name text) RETURNS void LANGUAGE sql
    BEGIN ATOMIC
        SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('trails.models ' || owner || '/' || name, 0));
    END;
COMMENT ON FUNCTION lock_model_name IS 'waits until no other transaction stores or deploys models of that name';

CREATE FUNCTION deploy(model text) RETURNS TABLE (name text, version integer, replaced integer)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    chosen trails.models;
BEGIN
    chosen := trails.own_model(CASE WHEN model ~ '@[0-9]+$' THEN model ELSE (
        SELECT m.owner || '/' || m.name || '@' || m2.latest FROM trails.find_model(model) m,
            LATERAL (SELECT max(o.version) AS latest FROM trails.models o WHERE o.owner = m.owner AND o.name = m.name) m2
    ) END);
    UPDATE trails.models m SET state = 'archived'
        WHERE m.owner = chosen.owner AND m.name = chosen.name AND m.state = 'deployed' AND m.model_id <> chosen.model_id
        RETURNING m.version INTO replaced;
    UPDATE trails.models m SET state = 'deployed', deployed = clock_timestamp() WHERE m.model_id = chosen.model_id;
    name := chosen.name;
    version := chosen.version;
    RETURN NEXT;
END $$;
COMMENT ON FUNCTION deploy IS
    'makes a version, the latest if none is named, the one that predictions by the model''s name use from now on';

CREATE FUNCTION rollback(name text) RETURNS TABLE (version integer, replaced integer)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    current_one trails.models;
    earlier trails.models;
BEGIN
    current_one := trails.own_model(rollback.name);
    IF current_one.state <> 'deployed' THEN
        RAISE EXCEPTION 'no version of "%" is deployed', rollback.name
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'trails.deploy(model) deploys one.';
    END IF;
    SELECT m.* INTO earlier FROM trails.models m
        WHERE m.owner = current_one.owner AND m.name = current_one.name AND m.deployed IS NOT NULL
          AND m.model_id <> current_one.model_id
        ORDER BY m.deployed DESC LIMIT 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no version of "%" was deployed before version %', rollback.name, current_one.version
            USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'trails.deploy(''name@version'') deploys any version.';
    END IF;
    -- What is rolled back leaves the history, so that another rollback goes further back.
    UPDATE trails.models m SET state = 'archived', deployed = NULL WHERE m.model_id = current_one.model_id;
    UPDATE trails.models m SET state = 'deployed' WHERE m.model_id = earlier.model_id;
    version := earlier.version;
    replaced := current_one.version;
    RETURN NEXT;
END $$;
COMMENT ON FUNCTION rollback IS 'deploys the version that was deployed before the present one';

CREATE FUNCTION drop_model(model text, all_versions boolean DEFAULT false) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    chosen trails.models := trails.own_model(model);
    dropped integer;
BEGIN
    IF NOT all_versions AND model !~ '@[0-9]+$' AND (
        SELECT count(*) > 1 FROM trails.models m WHERE m.owner = chosen.owner AND m.name = chosen.name
    ) THEN
        RAISE EXCEPTION 'the model "%" has several versions', model USING ERRCODE = 'ambiguous_parameter',
            HINT = format('Say which, such as %L, or all_versions => true.',
                regexp_replace(model, '@[0-9]+$', '') || '@' || chosen.version);
    END IF;
    DELETE FROM trails.models m
        WHERE m.owner = chosen.owner AND m.name = chosen.name AND (all_versions OR m.model_id = chosen.model_id);
    GET DIAGNOSTICS dropped = ROW_COUNT;
    DELETE FROM trails.model_grants g WHERE g.owner = chosen.owner AND g.name = chosen.name
        AND NOT EXISTS (SELECT FROM trails.models m WHERE m.owner = chosen.owner AND m.name = chosen.name);
    RETURN dropped;
END $$;
COMMENT ON FUNCTION drop_model IS 'deletes a model, or all versions of it; returns how many';

CREATE FUNCTION grant_model(name text, grantee name) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    chosen trails.models := trails.own_model(grant_model.name);
BEGIN
    IF grantee IS NULL THEN
        RAISE EXCEPTION 'grantee must not be NULL' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF grantee <> 'public' AND NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = grantee) THEN
        RAISE EXCEPTION 'role "%" does not exist', grantee USING ERRCODE = 'undefined_object';
    END IF;
    INSERT INTO trails.model_grants (owner, name, grantee) VALUES (chosen.owner, chosen.name, grantee)
        ON CONFLICT DO NOTHING;
END $$;
COMMENT ON FUNCTION grant_model IS 'lets a role, or public, predict with all versions of a model; it needs trails_user too';

CREATE FUNCTION revoke_model(name text, grantee name) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    chosen trails.models := trails.own_model(revoke_model.name);
BEGIN
    DELETE FROM trails.model_grants g
        WHERE g.owner = chosen.owner AND g.name = chosen.name AND g.grantee = revoke_model.grantee;
    RETURN FOUND;
END $$;
COMMENT ON FUNCTION revoke_model IS 'takes back what trails.grant_model granted; false if nothing was';

CREATE FUNCTION leaderboard(run bigint) RETURNS TABLE (
    rank integer, architecture text, score double precision, metric text, validation_metric double precision,
    epochs integer, parameters bigint, seconds double precision, model text
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    IF NOT EXISTS (SELECT FROM trails.runs r WHERE r.run_id = run) THEN
        RAISE EXCEPTION 'you have no run %', run USING ERRCODE = 'undefined_object',
            HINT = 'SELECT run_id, source, state FROM trails.runs shows your runs.';
    END IF;
    RETURN QUERY
        SELECT c.rank, c.architecture, c.score, r.metric, c.validation_metric, c.epochs, c.parameters, c.seconds,
            (SELECT m.name || '@' || m.version FROM trails.models m
             WHERE m.run_id = run AND m.architecture = c.architecture AND c.rank = 1 LIMIT 1)
        FROM trails.candidates c JOIN trails.runs r USING (run_id)
        WHERE c.run_id = run AND c.rank IS NOT NULL ORDER BY c.rank;
END $$;
COMMENT ON FUNCTION leaderboard IS 'the candidates of an earlier run, best first, with the model that was kept';

CREATE FUNCTION checked_weights(model models) RETURNS bytea
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF sha256(model.weights) <> model.digest THEN
        RAISE EXCEPTION 'the weights of model "%" version % are corrupted', model.name, model.version
            USING ERRCODE = 'data_corrupted', DETAIL = 'Their SHA-256 is not the one that was stored with them.',
            HINT = 'Restore the row from a backup, or train the model again.';
    END IF;
    RETURN model.weights;
END $$;
COMMENT ON FUNCTION checked_weights IS 'the weights of a model, compared with their checksum';

CREATE FUNCTION benchmark_reading(
    source regclass,
    repeats integer DEFAULT 1,
    reader text DEFAULT 'receiver'
) RETURNS TABLE (
    rows bigint,
    columns integer,
    seconds double precision,
    checksum bigint
) LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'benchmark_reading_wrapper';
COMMENT ON FUNCTION benchmark_reading IS
    'reads every column that Trails can read into NumPy arrays, as often as asked, and tells the seconds of each time and a checksum of all cells; reader: receiver, batches, or rows for pgrx''s own way';

CREATE FUNCTION convert_model(weights bytea, format text) RETURNS bytea
    LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'convert_model_wrapper';
COMMENT ON FUNCTION convert_model IS 'a model''s weights in another format; what trails.export_model calls';

CREATE FUNCTION export_model(model text, format text DEFAULT 'safetensors') RETURNS bytea
    LANGUAGE sql STABLE PARALLEL UNSAFE
    BEGIN ATOMIC
        SELECT convert_model(checked_weights(m), format) FROM find_model(COALESCE(model, '')) m;
    END;
COMMENT ON FUNCTION export_model IS 'a model as a file''s content: safetensors, with the encoder in its header, or onnx';

CREATE FUNCTION describe_columns(
    source regclass,
    features name[] DEFAULT NULL
) RETURNS TABLE (
    column_name text,
    type text,
    kind text,
    rows bigint,
    nulls bigint,
    distinct_texts bigint,
    minimum text,
    maximum text
) LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'describe_columns_wrapper';
COMMENT ON FUNCTION describe_columns IS
    'what Trails sees in a relation: every column, what it is read as (NULL: it cannot be read), and what it holds';

CREATE FUNCTION encoding(model text) RETURNS TABLE (
    field integer,
    column_name text,
    kind text,
    part text,
    encoding text,
    first_row bigint,
    embedding_rows bigint,
    categories bigint,
    buckets bigint,
    examples text[],
    edges double precision[],
    scale double precision,
    mean double precision,
    std double precision
) LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'encoding_wrapper';
COMMENT ON FUNCTION encoding IS
    'how a model encodes its columns: the categories, bins or scale of every field, and its rows of the embedding';

CREATE FUNCTION import_model(
    name text,
    weights bytea,
    source regclass DEFAULT NULL,
    deploy boolean DEFAULT false
) RETURNS text LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'import_model_wrapper';
COMMENT ON FUNCTION import_model IS
    'takes a model in that trails.export_model gave out, as the next version of a name; for superusers and whom they grant it';

CREATE FUNCTION model_selection(
    source regclass,
    target name,
    budget interval DEFAULT '60 s',
    features name[] DEFAULT NULL,
    validation regclass DEFAULT NULL,
    space text DEFAULT 'mlp4x20',
    tfmem tfmem DEFAULT 'expressflow',
    refinement text DEFAULT 'sh',
    n integer DEFAULT NULL,
    k integer DEFAULT NULL,
    u integer DEFAULT NULL,
    seed bigint DEFAULT 1,
    batch_size integer DEFAULT 32,
    options jsonb DEFAULT NULL,
    task text DEFAULT NULL,
    split name DEFAULT NULL,
    name text DEFAULT NULL
) RETURNS TABLE (
    rank integer,
    architecture text,
    score double precision,
    validation_metric double precision,
    epochs integer,
    parameters bigint,
    seconds double precision,
    model text
) LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'model_selection_wrapper';
COMMENT ON FUNCTION model_selection IS
    'ranks the architectures of a space without training, trains the best within the budget, returns the leaderboard';

CREATE FUNCTION model_selection_workloads(
    source regclass,
    target name,
    n integer,
    k integer,
    u integer DEFAULT 1,
    features name[] DEFAULT NULL,
    validation regclass DEFAULT NULL,
    space text DEFAULT 'mlp4x20',
    tfmem tfmem DEFAULT 'expressflow',
    refinement text DEFAULT 'sh',
    seed bigint DEFAULT 1,
    batch_size integer DEFAULT 32,
    options jsonb DEFAULT NULL,
    task text DEFAULT NULL,
    split name DEFAULT NULL
) RETURNS TABLE (
    run_id bigint,
    phase text,
    process text,
    begin_seconds double precision,
    seconds double precision
) LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'model_selection_workloads_wrapper';
COMMENT ON FUNCTION model_selection_workloads IS
    'scores n architectures and trains k of them, u epochs first, however long it takes, and tells where the time went';

CREATE FUNCTION predict_probabilities(model text, "row" record) RETURNS double precision[]
    LANGUAGE c STABLE PARALLEL SAFE COST 100 AS 'MODULE_PATHNAME', 'predict_probabilities_wrapper';
COMMENT ON FUNCTION predict_probabilities IS
    'for one row the probability of each class, in the order of trails.models.classes; NULL for regression';

CREATE FUNCTION predict(model text, "row" record) RETURNS text
    LANGUAGE c STABLE PARALLEL SAFE COST 100 AS 'MODULE_PATHNAME', 'predict_record_wrapper';
COMMENT ON FUNCTION predict(text, record) IS 'the predicted class of one row, or the number as text';

CREATE FUNCTION predict(
    model text,
    source regclass,
    target name DEFAULT NULL
) RETURNS TABLE (
    key text,
    prediction text,
    score double precision,
    probabilities double precision[]
) LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'predict_relation_wrapper';
COMMENT ON FUNCTION predict(text, regclass, name) IS
    'predictions for every row of a table or view, by primary key or else by number; model NULL: the one deployed for source and target';

CREATE FUNCTION predict(
    model text,
    source text,
    target name DEFAULT NULL
) RETURNS TABLE (
    key text,
    prediction text,
    score double precision,
    probabilities double precision[]
) LANGUAGE sql STABLE PARALLEL UNSAFE
    BEGIN ATOMIC
        SELECT p.key, p.prediction, p.score, p.probabilities
        FROM predict(predict.model, CAST(predict.source AS pg_catalog.regclass), predict.target) p;
    END;
COMMENT ON FUNCTION predict(text, text, name) IS 'the same for a table or view that is named by a text';

CREATE FUNCTION predict_score(model text, "row" record) RETURNS double precision
    LANGUAGE c STABLE PARALLEL SAFE COST 100 AS 'MODULE_PATHNAME', 'predict_score_wrapper';
COMMENT ON FUNCTION predict_score IS
    'for one row the probability of the positive of two classes, or of the predicted one of several, or the number';

CREATE FUNCTION profile_prediction(
    model text,
    source regclass,
    repeats integer DEFAULT 1
) RETURNS TABLE (
    phase text,
    rows bigint,
    seconds double precision,
    rows_per_second double precision
) LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'profile_prediction_wrapper';
COMMENT ON FUNCTION profile_prediction IS
    'predicts for a table or view and tells the seconds of each phase, medians of as many repeats; the model is read anew each time';

CREATE FUNCTION profile_refinement(
    source regclass,
    target name,
    architectures text[] DEFAULT NULL,
    features name[] DEFAULT NULL,
    validation regclass DEFAULT NULL,
    space text DEFAULT 'mlp4x20',
    seed bigint DEFAULT 1,
    options jsonb DEFAULT NULL,
    task text DEFAULT NULL,
    split name DEFAULT NULL
) RETURNS TABLE (
    architecture text,
    parameters bigint,
    workers integer,
    training_seconds double precision,
    evaluation_seconds double precision,
    seconds_alone double precision,
    seconds_shared double precision,
    megabytes double precision
) LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'profile_refinement_wrapper';
COMMENT ON FUNCTION profile_refinement IS
    'times an epoch of the named architectures, or of five that filtering would offer, on a table; trains nothing to keep';

CREATE FUNCTION refinement_phase(
    source regclass,
    target name,
    architectures text[],
    u integer DEFAULT NULL,
    budget interval DEFAULT '60 s',
    features name[] DEFAULT NULL,
    validation regclass DEFAULT NULL,
    space text DEFAULT 'mlp4x20',
    refinement text DEFAULT 'sh',
    seed bigint DEFAULT 1,
    options jsonb DEFAULT NULL,
    task text DEFAULT NULL,
    split name DEFAULT NULL,
    name text DEFAULT NULL
) RETURNS TABLE (
    rank integer,
    architecture text,
    rung integer,
    epoch integer,
    train_loss double precision,
    validation_loss double precision,
    validation_metric double precision,
    seconds double precision
) LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'refinement_phase_wrapper';
COMMENT ON FUNCTION refinement_phase IS
    'trains the named architectures within the budget, and returns their learning curves, best candidate first';

CREATE FUNCTION resume(
    run bigint,
    budget interval DEFAULT '60 s'
) RETURNS TABLE (
    rank integer,
    architecture text,
    score double precision,
    validation_metric double precision,
    epochs integer,
    parameters bigint,
    seconds double precision,
    model text
) LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'resume_wrapper';
COMMENT ON FUNCTION resume IS
    'goes on with a run of yours that was cut, from its last finished rung, as a new run; returns the leaderboard';

-- Who may do what: everything goes to the role trails_user, nothing to everybody. A DBA grants that role.

DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'trails_user') THEN
        CREATE ROLE trails_user NOLOGIN;
        COMMENT ON ROLE trails_user IS 'may select, train and use models with the extension trails';
    END IF;
END $$;

GRANT USAGE ON SCHEMA trails TO trails_user;
GRANT SELECT, INSERT, DELETE ON runs, candidates, trials, timings, checkpoints TO trails_user;
GRANT SELECT, INSERT, UPDATE, DELETE ON models, model_grants TO trails_user;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA trails FROM PUBLIC;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA trails TO trails_user;
-- Weights from elsewhere are for those to bring in who answer for them.
REVOKE EXECUTE ON FUNCTION import_model(text, bytea, regclass, boolean) FROM trails_user;
-- The type trails.tfmem must be readable by whoever has been granted it.
GRANT EXECUTE ON FUNCTION tfmem_in(cstring), tfmem_out(tfmem), tfmem_recv(internal), tfmem_send(tfmem) TO PUBLIC;
