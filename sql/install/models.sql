-- The registry: models that selections have stored, which of them are deployed, and who may use them.
-- Row-level security shows each role its own models and those granted to it. It may delete its own rows; all else is
-- written by the functions, which look the rows up as the caller and write them as the tables' owner, so that state,
-- time of deployment, owner and weights are what the functions say they are.

CREATE TABLE models (
    model_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name            pg_catalog.text NOT NULL CHECK (
                        name OPERATOR(pg_catalog.<>) '' AND pg_catalog.length(name) OPERATOR(pg_catalog.<=) 200
                        AND name OPERATOR(pg_catalog.!~) '[/@]'
                    ),
    version         integer NOT NULL CHECK (version OPERATOR(pg_catalog.>) 0),
    owner           pg_catalog.regrole NOT NULL DEFAULT trails.caller(),
    run_id          bigint REFERENCES runs ON DELETE SET NULL,
    state           pg_catalog.text NOT NULL DEFAULT 'candidate'
                        CHECK (state OPERATOR(pg_catalog.=) ANY (ARRAY['candidate', 'deployed', 'archived'])),
    task            pg_catalog.text NOT NULL
                        CHECK (task OPERATOR(pg_catalog.=) ANY (ARRAY['binary', 'multiclass', 'regression'])),
    architecture    pg_catalog.text NOT NULL,
    source          pg_catalog.text,
    relation        pg_catalog.text,
    target          pg_catalog.name NOT NULL,
    columns         pg_catalog.jsonb NOT NULL,
    classes         pg_catalog.text[],
    encoder         pg_catalog.jsonb NOT NULL,
    metrics         pg_catalog.jsonb NOT NULL,
    made_of         pg_catalog.jsonb,
    digest          pg_catalog.bytea NOT NULL,
    weights         pg_catalog.bytea NOT NULL,
    created         pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    deployed        pg_catalog.timestamptz,
    threshold       double precision CHECK (
                        threshold OPERATOR(pg_catalog.>=) 0 AND threshold OPERATOR(pg_catalog.<=) 1
                    ),
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
COMMENT ON COLUMN models.relation IS 'source as trails.relation_identity tells relations apart, whatever they are called';
COMMENT ON COLUMN models.columns IS 'the columns that a source must have to predict, with the kind of each';
COMMENT ON COLUMN models.classes IS 'the classes in the order of probabilities; NULL for regression';
COMMENT ON COLUMN models.encoder IS 'how columns become fields; trails.encoding(model) shows what each has learnt';
COMMENT ON COLUMN models.metrics IS 'of the validation rows';
COMMENT ON COLUMN models.made_of IS 'the run that made it, as trails.runs had it: rows, columns, seconds, options; stays when the run is dropped';
COMMENT ON COLUMN models.digest IS 'SHA-256 of weights, checked whenever they are read';
COMMENT ON COLUMN models.weights IS 'weights and encoder as safetensors';
COMMENT ON COLUMN models.deployed IS 'when it was last deployed; trails.rollback goes back in this order';
COMMENT ON COLUMN models.threshold IS 'probability from which the second of two classes is predicted; NULL: the likelier one is';

CREATE TABLE model_grants (
    owner           pg_catalog.regrole NOT NULL DEFAULT trails.caller(),
    name            pg_catalog.text NOT NULL,
    grantee         pg_catalog.regrole NOT NULL,
    PRIMARY KEY (owner, name, grantee)
);
COMMENT ON TABLE model_grants IS 'roles that may predict with the models of a name: trails.grant_model and trails.revoke_model';
COMMENT ON COLUMN model_grants.grantee IS 'a role; - (no role) stands for public';

-- A grant ends with the last model of its name, however that is deleted: the next one of the name is another.
CREATE FUNCTION forget_grants() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM trails.model_grants g USING gone WHERE g.owner = gone.owner AND g.name = gone.name
        AND NOT EXISTS (SELECT FROM trails.models m WHERE m.owner = gone.owner AND m.name = gone.name);
    RETURN NULL;
END $$;
COMMENT ON FUNCTION forget_grants IS 'what was granted on a model ends with its last version';
CREATE TRIGGER forget_grants AFTER DELETE ON models REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION trails.forget_grants();

-- A run's model that could not be kept under its name when the run ended: trails.keep_model takes it from here.
CREATE TABLE unregistered_models (
    run_id          bigint PRIMARY KEY REFERENCES runs ON DELETE CASCADE,
    weights         pg_catalog.bytea NOT NULL
);
ALTER TABLE unregistered_models ALTER COLUMN weights SET STORAGE EXTERNAL;
COMMENT ON TABLE unregistered_models IS 'models that could not be kept when their runs ended, and wait for trails.keep_model';
COMMENT ON COLUMN unregistered_models.weights IS 'weights and encoder as safetensors';
ALTER TABLE unregistered_models ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_unregistered_models ON unregistered_models USING (EXISTS (
    SELECT FROM trails.runs r
    WHERE r.run_id OPERATOR(pg_catalog.=) unregistered_models.run_id AND r.owner OPERATOR(pg_catalog.=) trails.caller()
));

-- A role that was dropped matches nobody.
CREATE FUNCTION is_member(role pg_catalog.regrole) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
    RETURN role OPERATOR(pg_catalog.=) CAST(0 AS pg_catalog.oid) OR EXISTS (
        SELECT FROM pg_catalog.pg_roles r
        WHERE r.oid OPERATOR(pg_catalog.=) role AND pg_catalog.pg_has_role(r.oid, 'USAGE')
    );
COMMENT ON FUNCTION is_member IS 'whether the caller is the role or has its rights; - stands for public';

ALTER TABLE models ENABLE ROW LEVEL SECURITY;
ALTER TABLE model_grants ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_models ON models
    USING (owner OPERATOR(pg_catalog.=) trails.caller()) WITH CHECK (owner OPERATOR(pg_catalog.=) trails.caller());
CREATE POLICY granted_models ON models FOR SELECT USING (EXISTS (
    SELECT FROM trails.model_grants g
    WHERE g.owner OPERATOR(pg_catalog.=) models.owner AND g.name OPERATOR(pg_catalog.=) models.name
      AND trails.is_member(g.grantee)
));
CREATE POLICY own_grants ON model_grants
    USING (owner OPERATOR(pg_catalog.=) trails.caller()) WITH CHECK (owner OPERATOR(pg_catalog.=) trails.caller());
CREATE POLICY grants_to_me ON model_grants FOR SELECT USING (trails.is_member(grantee));

SELECT pg_catalog.pg_extension_config_dump('models', '');
SELECT pg_catalog.pg_extension_config_dump('models_model_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('model_grants', '');
SELECT pg_catalog.pg_extension_config_dump('unregistered_models', '');

-- In messages; a caller may name anything.
CREATE FUNCTION shown(given pg_catalog.text) RETURNS pg_catalog.text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN CASE WHEN length(given) > 100 THEN left(given, 100) || '...' ELSE given END;
END $$;
COMMENT ON FUNCTION shown IS 'the beginning of an argument, for messages';

-- Deployed models of a relation and target: those that a role owns, or those of others that were granted to it. A model
-- belongs to the relation that it was trained on, whatever it is called now; once that is gone, as after a restore, to
-- the one with its name. Names are compared and never looked up, so that no row can make this fail.
CREATE FUNCTION deployed_models(source pg_catalog.regclass, target pg_catalog.name, own boolean)
RETURNS SETOF trails.models
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    me regrole := trails.caller();
    identity text := trails.relation_identity(source);
    asked text := (
        SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.oid = source
    );
    -- Superusers have the rights of every role, and were granted no more than others.
    roles oid[] := ARRAY(
        WITH RECURSIVE found AS (
            SELECT me::oid AS role UNION SELECT m.roleid FROM pg_auth_members m JOIN found ON m.member = found.role
        )
        SELECT role FROM found WHERE pg_has_role(role, 'USAGE')
    );
BEGIN
    RETURN QUERY
        SELECT m.* FROM trails.models m
        WHERE m.state = 'deployed' AND (deployed_models.target IS NULL OR m.target = deployed_models.target)
          AND (m.relation = identity OR m.source = asked AND NOT trails.relation_exists(m.relation))
          AND CASE WHEN own THEN m.owner = me ELSE m.owner <> me AND EXISTS (
              SELECT FROM trails.model_grants g WHERE g.owner = m.owner AND g.name = m.name
                AND (g.grantee = '-'::regrole OR g.grantee = ANY (roles))
          ) END;
END $$;
COMMENT ON FUNCTION deployed_models IS
    'the deployed models of a relation that are the caller''s own, or that others have granted to the caller';

CREATE FUNCTION find_model(
    model pg_catalog.text, source pg_catalog.regclass DEFAULT NULL, target pg_catalog.name DEFAULT NULL
) RETURNS SETOF trails.models
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    me regrole := trails.caller();
    -- Longer than any name: a search through megabytes cannot be cancelled.
    named text := left(model, 400);
    digits text := substring(named FROM '@([0-9]+)$');
    base text := left(named, length(named) - COALESCE(length(digits) + 1, 0));
    bare text := regexp_replace(base, '^.*/', '');
    -- More digits than any version has.
    wanted bigint := CASE WHEN length(digits) > 10 THEN -1 ELSE digits::bigint END;
    role_name text := CASE WHEN base <> bare THEN left(base, -length(bare) - 1) END;
    own boolean;
    owners regrole[];
    targets bigint;
    found_ids bigint[];
BEGIN
    IF model IS NULL THEN
        IF source IS NULL THEN
            RAISE EXCEPTION 'no model is named' USING ERRCODE = 'invalid_parameter_value',
                HINT = 'Name one of trails.models, or the table whose deployed model is meant.';
        END IF;
        FOREACH own IN ARRAY ARRAY[true, false] LOOP
            SELECT array_agg(m.model_id ORDER BY m.deployed DESC, m.model_id DESC), array_agg(DISTINCT m.owner),
                count(DISTINCT m.target)
            INTO found_ids, owners, targets FROM trails.deployed_models(source, find_model.target, own) m;
            EXIT WHEN found_ids IS NOT NULL;
        END LOOP;
        IF found_ids IS NULL THEN
            RAISE EXCEPTION 'no model of % is deployed', source || coalesce(' that predicts ' || quote_ident(target), '')
                USING ERRCODE = 'undefined_object',
                HINT = 'trails.deploy(model) deploys one; trails.models shows those there are. Another role''s must be '
                    || 'granted, or named as owner/name.';
        END IF;
        IF cardinality(owners) > 1 THEN
            RAISE EXCEPTION 'several roles have deployed a model of %', source USING ERRCODE = 'ambiguous_function',
                DETAIL = format('They are %s.', (SELECT string_agg(o::text, ', ' ORDER BY o::text) FROM unnest(owners) o)),
                HINT = format('Name the model, such as %L.', (
                    SELECT pg_get_userbyid(m.owner) || '/' || m.name FROM trails.models m WHERE m.model_id = found_ids[1]
                ));
        END IF;
        IF targets > 1 THEN
            RAISE EXCEPTION 'models of % for several targets are deployed', source
                USING ERRCODE = 'ambiguous_parameter', HINT = 'Name the target, or the model.';
        END IF;
        RETURN QUERY SELECT m.* FROM trails.models m WHERE m.model_id = found_ids[1];
        RETURN;
    END IF;
    SELECT array_agg(DISTINCT m.owner) INTO owners FROM trails.models m
    WHERE m.name = bare AND (role_name IS NULL OR pg_get_userbyid(m.owner)::text = role_name)
      AND (wanted IS NULL OR m.version = wanted);
    IF owners IS NULL THEN
        RAISE EXCEPTION 'there is no model "%"', trails.shown(named) USING ERRCODE = 'undefined_object',
            HINT = 'SELECT name, version, state FROM trails.models shows those that you may use.';
    END IF;
    IF cardinality(owners) > 1 AND me <> ALL (owners) THEN
        RAISE EXCEPTION 'several roles have a model "%"', trails.shown(named) USING ERRCODE = 'ambiguous_parameter',
            HINT = format('Say whose: %L.', pg_get_userbyid(owners[1]) || '/' || named);
    END IF;
    RETURN QUERY
        SELECT m.* FROM trails.models m
        WHERE m.name = bare AND m.owner = CASE WHEN me = ANY (owners) THEN me ELSE owners[1] END
          AND (wanted IS NULL OR m.version = wanted)
        ORDER BY m.state = 'deployed' DESC, m.version DESC LIMIT 1;
END $$;
COMMENT ON FUNCTION find_model IS
    'the model that a name means: its deployed version, else its latest; name@3 is version 3, owner/name another role''s';

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

CREATE FUNCTION training_facts(model pg_catalog.text) RETURNS pg_catalog.jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    blob bytea;
    length integer;
BEGIN
    SELECT trails.checked_weights(m) INTO blob FROM trails.find_model(coalesce(training_facts.model, '')) m;
    -- A safetensors file: the length of its contents, then those, as JSON; the header of a model is one text of them.
    length := get_byte(blob, 0) + (get_byte(blob, 1) << 8) + (get_byte(blob, 2) << 16) + (get_byte(blob, 3) << 24);
    RETURN ((convert_from(substring(blob FROM 9 FOR length), 'UTF8')::json -> '__metadata__' ->> 'trails')::json
        -> 'training')::jsonb;
END $$;
COMMENT ON FUNCTION training_facts IS
    'how a model was trained, as its file says: rows, epochs, seed, its networks if they are several, and whether the architecture mattered';

CREATE FUNCTION networks(model pg_catalog.text) RETURNS TABLE (
    architecture pg_catalog.text, weight double precision, validation_metric double precision, epochs integer,
    best_epoch integer, parameters bigint
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    named text := coalesce(networks.model, '');
    facts jsonb := trails.training_facts(named);
BEGIN
    IF facts -> 'networks' IS NULL THEN
        -- The candidate of that name is the single network that the members were compared with.
        RETURN QUERY
            SELECT m.architecture, 1.0::double precision,
                CASE WHEN facts ->> 'members' IS NULL THEN c.validation_metric
                    ELSE (m.metrics ->> (facts ->> 'metric'))::double precision END,
                (facts ->> 'epochs')::integer, (facts ->> 'best_epoch')::integer,
                CASE WHEN facts ->> 'members' IS NULL THEN c.parameters END
            FROM trails.find_model(named) m
            LEFT JOIN trails.candidates c ON c.run_id = m.run_id AND c.architecture = m.architecture;
        RETURN;
    END IF;
    RETURN QUERY
        SELECT n.architecture, n.weight / sum(n.weight) OVER (), n.validation_metric, n.epochs, n.best_epoch, n.parameters
        FROM jsonb_to_recordset(facts -> 'networks') n (
            architecture text, weight double precision, validation_metric double precision, epochs integer,
            best_epoch integer, parameters bigint
        )
        ORDER BY n.validation_metric IS NULL, 2 DESC, 1;
END $$;
COMMENT ON FUNCTION networks IS
    'the networks that a model is the weighted mean of: one, or several of its run with the option ensemble';
