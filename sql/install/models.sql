-- The registry: models that selections have stored, which of them are deployed, and who may use them.
-- Everything runs as the caller: row-level security shows each role its own models and those granted to it, and lets it
-- change its own only.

CREATE TABLE models (
    model_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name            pg_catalog.text NOT NULL CHECK (
                        name OPERATOR(pg_catalog.<>) '' AND pg_catalog.length(name) OPERATOR(pg_catalog.<=) 200
                        AND name OPERATOR(pg_catalog.!~) '@[0-9]+$'
                    ),
    version         integer NOT NULL CHECK (version OPERATOR(pg_catalog.>) 0),
    owner           pg_catalog.name NOT NULL DEFAULT current_user,
    run_id          bigint REFERENCES runs ON DELETE SET NULL,
    state           pg_catalog.text NOT NULL DEFAULT 'candidate'
                        CHECK (state OPERATOR(pg_catalog.=) ANY (ARRAY['candidate', 'deployed', 'archived'])),
    task            pg_catalog.text NOT NULL
                        CHECK (task OPERATOR(pg_catalog.=) ANY (ARRAY['binary', 'multiclass', 'regression'])),
    architecture    pg_catalog.text NOT NULL,
    source          pg_catalog.text,
    target          pg_catalog.name NOT NULL,
    columns         pg_catalog.jsonb NOT NULL,
    classes         pg_catalog.text[],
    encoder         pg_catalog.jsonb NOT NULL,
    metrics         pg_catalog.jsonb NOT NULL,
    digest          pg_catalog.bytea NOT NULL,
    weights         pg_catalog.bytea NOT NULL,
    created         pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    deployed        pg_catalog.timestamptz,
    UNIQUE (owner, name, version)
);
-- Two sessions that deploy at once cannot both succeed for one name.
CREATE UNIQUE INDEX models_deployed ON models (owner, name) WHERE state OPERATOR(pg_catalog.=) 'deployed';
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
    owner           pg_catalog.name NOT NULL DEFAULT current_user,
    name            pg_catalog.text NOT NULL,
    grantee         pg_catalog.name NOT NULL,
    PRIMARY KEY (owner, name, grantee)
);
COMMENT ON TABLE model_grants IS 'roles that may predict with the models of a name: trails.grant_model and trails.revoke_model';

-- A role that was dropped matches nobody; looking it up by name would be an error.
CREATE FUNCTION is_member(role pg_catalog.name) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
    RETURN role OPERATOR(pg_catalog.=) 'public' OR EXISTS (
        SELECT FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) role AND pg_catalog.pg_has_role(r.oid, 'USAGE')
    );
COMMENT ON FUNCTION is_member IS 'whether the caller is the role or has its rights';

ALTER TABLE models ENABLE ROW LEVEL SECURITY;
ALTER TABLE model_grants ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_models ON models
    USING (owner OPERATOR(pg_catalog.=) current_user) WITH CHECK (owner OPERATOR(pg_catalog.=) current_user);
CREATE POLICY granted_models ON models FOR SELECT USING (EXISTS (
    SELECT FROM trails.model_grants g
    WHERE g.owner OPERATOR(pg_catalog.=) models.owner AND g.name OPERATOR(pg_catalog.=) models.name
      AND trails.is_member(g.grantee)
));
CREATE POLICY own_grants ON model_grants
    USING (owner OPERATOR(pg_catalog.=) current_user) WITH CHECK (owner OPERATOR(pg_catalog.=) current_user);
CREATE POLICY grants_to_me ON model_grants FOR SELECT USING (trails.is_member(grantee));

SELECT pg_catalog.pg_extension_config_dump('models', '');
SELECT pg_catalog.pg_extension_config_dump('models_model_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('model_grants', '');

CREATE FUNCTION find_model(
    model pg_catalog.text, source pg_catalog.regclass DEFAULT NULL, target pg_catalog.name DEFAULT NULL
) RETURNS SETOF trails.models
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    base pg_catalog.text := regexp_replace(model, '@[0-9]+$', '');
    wanted numeric := substring(model FROM '@([0-9]+)$')::numeric;
    owners pg_catalog.name[];
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
CREATE FUNCTION own_model(model pg_catalog.text) RETURNS trails.models
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

CREATE FUNCTION lock_model_name(owner pg_catalog.name, name pg_catalog.text) RETURNS pg_catalog.void LANGUAGE sql
    BEGIN ATOMIC
        SELECT pg_catalog.pg_advisory_xact_lock(
            pg_catalog.hashtextextended(pg_catalog.format('trails.models %s/%s', owner, name), 0)
        );
    END;
COMMENT ON FUNCTION lock_model_name IS 'waits until no other transaction stores or deploys models of that name';

CREATE FUNCTION deploy(model pg_catalog.text) RETURNS TABLE (name pg_catalog.text, version integer, replaced integer)
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

CREATE FUNCTION rollback(name pg_catalog.text) RETURNS TABLE (version integer, replaced integer)
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

CREATE FUNCTION drop_model(model pg_catalog.text, all_versions boolean DEFAULT false) RETURNS integer
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

CREATE FUNCTION grant_model(name pg_catalog.text, grantee pg_catalog.name) RETURNS pg_catalog.void
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

CREATE FUNCTION revoke_model(name pg_catalog.text, grantee pg_catalog.name) RETURNS boolean
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
    rank integer, architecture pg_catalog.text, score double precision, metric pg_catalog.text,
    validation_metric double precision, epochs integer, parameters bigint, seconds double precision, model pg_catalog.text
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

CREATE FUNCTION checked_weights(model trails.models) RETURNS pg_catalog.bytea
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
