-- From 0.2.0 to 0.3.0: owners are roles, relations are known by what they are, models are written by functions only; judging,
-- explaining, drift, retraining, runs in the background, watching. Runs, models and grants stay. Released scripts are never edited.

\echo Use "ALTER EXTENSION trails UPDATE TO '0.3.0'" to load this file. \quit

-- Trails works in UTF-8 alone: texts are compared by their bytes, and go to Python and to JSON and back.
DO $$
BEGIN
    IF pg_catalog.getdatabaseencoding() OPERATOR(pg_catalog.<>) 'UTF8' THEN
        RAISE EXCEPTION 'Trails needs a database in UTF-8, and this one is in %', pg_catalog.getdatabaseencoding()
            USING ERRCODE = 'feature_not_supported',
                  HINT = 'CREATE DATABASE ... ENCODING ''UTF8'' TEMPLATE template0 makes one; pg_dump --encoding=UTF8 '
                         'writes the tables for it.';
    END IF;
END $$;

-- Whoever owns the schema, or may create in it, could have laid objects there that this script would take for its own.
DO $$
DECLARE
    here pg_catalog.pg_namespace;
BEGIN
    SELECT n.* INTO STRICT here FROM pg_catalog.pg_namespace n WHERE n.nspname OPERATOR(pg_catalog.=) 'trails';
    IF here.nspowner OPERATOR(pg_catalog.<>) CAST(pg_catalog.quote_ident(current_user) AS pg_catalog.regrole)
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid OPERATOR(pg_catalog.=) here.nspowner AND r.rolsuper)
    THEN
        RAISE EXCEPTION 'the schema trails belongs to %', pg_catalog.pg_get_userbyid(here.nspowner)
            USING ERRCODE = 'object_not_in_prerequisite_state',
            DETAIL = 'Its owner could put objects there that are run in place of the extension''s.',
            HINT = 'ALTER SCHEMA trails OWNER TO CURRENT_USER.';
    END IF;
    IF EXISTS (
        SELECT FROM pg_catalog.aclexplode(here.nspacl) a
        WHERE a.privilege_type OPERATOR(pg_catalog.=) 'CREATE' AND a.grantee OPERATOR(pg_catalog.<>) here.nspowner
    ) THEN
        RAISE EXCEPTION 'others than its owner may create objects in the schema trails'
            USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'REVOKE CREATE ON SCHEMA trails FROM them, PUBLIC included.';
    END IF;
END $$;

-- Arguments, columns or languages are others. What stays as it was, to its arguments and results, is replaced where it is, with
-- the views that use it.
DROP FUNCTION deploy(pg_catalog.text);
DROP FUNCTION describe_columns(pg_catalog.regclass, pg_catalog.name[]);
DROP FUNCTION encoding(pg_catalog.text);
DROP FUNCTION filtering_phase(pg_catalog.regclass, pg_catalog.name, integer, integer, trails.tfmem, pg_catalog.text, integer, bigint, pg_catalog.name[], pg_catalog.text);
DROP FUNCTION lock_model_name(pg_catalog.name, pg_catalog.text);
DROP FUNCTION model_selection(pg_catalog.regclass, pg_catalog.name, interval, pg_catalog.name[], pg_catalog.regclass, pg_catalog.text, trails.tfmem, pg_catalog.text, integer, integer, integer, bigint, integer, pg_catalog.jsonb, pg_catalog.text, pg_catalog.name, pg_catalog.text);
DROP FUNCTION model_selection_workloads(pg_catalog.regclass, pg_catalog.name, integer, integer, integer, pg_catalog.name[], pg_catalog.regclass, pg_catalog.text, trails.tfmem, pg_catalog.text, bigint, integer, pg_catalog.jsonb, pg_catalog.text, pg_catalog.name);
DROP FUNCTION own_model(pg_catalog.text);
DROP FUNCTION refinement_phase(pg_catalog.regclass, pg_catalog.name, pg_catalog.text[], integer, interval, pg_catalog.name[], pg_catalog.regclass, pg_catalog.text, pg_catalog.text, bigint, pg_catalog.jsonb, pg_catalog.text, pg_catalog.name, pg_catalog.text);

-- Owners are roles and no names: one that is renamed keeps what is its own, one that is made anew under an old name
-- gets nothing. pg_dump writes a regrole as its name.
CREATE FUNCTION caller() RETURNS pg_catalog.regrole LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CAST(pg_catalog.quote_ident(current_user) AS pg_catalog.regrole);
COMMENT ON FUNCTION caller IS 'the role that a statement runs as';

DROP POLICY own_runs ON runs;
DROP POLICY own_candidates ON candidates;
DROP POLICY own_trials ON trials;
DROP POLICY own_timings ON timings;
DROP POLICY own_checkpoints ON checkpoints;
DROP POLICY own_models ON models;
DROP POLICY granted_models ON models;
DROP POLICY own_grants ON model_grants;
DROP POLICY grants_to_me ON model_grants;
DROP FUNCTION is_member(pg_catalog.name);

-- A grant on models that are not there would be one on the next of that name. One to a role that is no more is nobody's: no
-- role stands for public from now on.
DELETE FROM trails.model_grants g
WHERE NOT EXISTS (
        SELECT FROM trails.models m
        WHERE m.owner OPERATOR(pg_catalog.=) g.owner AND m.name OPERATOR(pg_catalog.=) g.name
    ) OR g.grantee OPERATOR(pg_catalog.<>) 'public' AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) g.grantee
    );

-- Names hold neither / nor @ any more, and what belonged to roles that are no more belongs to one owner, no role (-). A model
-- whose name cannot stay, or would be another's as well, gets a new one.
DO $$
DECLARE
    named pg_catalog.record;
    plain pg_catalog.text;
    free pg_catalog.text;
    place integer;
BEGIN
    FOR named IN
        SELECT DISTINCT m.owner, m.name, r.oid AS role
        FROM trails.models m LEFT JOIN pg_catalog.pg_roles r ON r.rolname OPERATOR(pg_catalog.=) m.owner
        WHERE r.oid IS NULL OR m.name OPERATOR(pg_catalog.~) '[/@]'
        ORDER BY m.owner, m.name
    LOOP
        plain := pg_catalog.translate(named.name, '/@', '__');
        free := plain;
        place := 1;
        WHILE EXISTS (
            SELECT FROM trails.models m LEFT JOIN pg_catalog.pg_roles r ON r.rolname OPERATOR(pg_catalog.=) m.owner
            WHERE m.name OPERATOR(pg_catalog.=) free
              AND NOT (m.owner OPERATOR(pg_catalog.=) named.owner AND m.name OPERATOR(pg_catalog.=) named.name)
              AND (m.owner OPERATOR(pg_catalog.=) named.owner OR named.role IS NULL AND r.oid IS NULL)
        ) LOOP
            place := place OPERATOR(pg_catalog.+) 1;
            free := pg_catalog.concat(pg_catalog.left(plain, 180), '_', place);
        END LOOP;
        CONTINUE WHEN free OPERATOR(pg_catalog.=) named.name;
        UPDATE trails.models m SET name = free
            WHERE m.owner OPERATOR(pg_catalog.=) named.owner AND m.name OPERATOR(pg_catalog.=) named.name;
        UPDATE trails.model_grants g SET name = free
            WHERE g.owner OPERATOR(pg_catalog.=) named.owner AND g.name OPERATOR(pg_catalog.=) named.name;
        UPDATE trails.runs r SET model = free
            WHERE r.owner OPERATOR(pg_catalog.=) named.owner AND r.model OPERATOR(pg_catalog.=) named.name;
        RAISE WARNING 'the model "%" of the role % is called "%" now', named.name, named.owner, free
            USING DETAIL = 'Names hold neither / nor @ any more, and models of roles that do not exist share one owner.',
            HINT = 'Call it by its new name where it was called by the old one.';
    END LOOP;
END $$;

-- A role that is no more owns nothing: its runs and models belong to no role (-) and superusers see them.
ALTER TABLE runs ALTER COLUMN owner DROP DEFAULT;
ALTER TABLE runs ALTER COLUMN owner TYPE pg_catalog.regrole
    USING COALESCE(pg_catalog.to_regrole(pg_catalog.quote_ident(owner)), CAST('-' AS pg_catalog.regrole));
ALTER TABLE runs ALTER COLUMN owner SET DEFAULT trails.caller();
CREATE POLICY own_runs ON runs
    USING (owner OPERATOR(pg_catalog.=) trails.caller()) WITH CHECK (owner OPERATOR(pg_catalog.=) trails.caller());
CREATE POLICY own_candidates ON candidates
    USING (EXISTS (
        SELECT FROM trails.runs r
        WHERE r.run_id OPERATOR(pg_catalog.=) candidates.run_id AND r.owner OPERATOR(pg_catalog.=) trails.caller()
    ));
CREATE POLICY own_trials ON trials
    USING (EXISTS (
        SELECT FROM trails.runs r
        WHERE r.run_id OPERATOR(pg_catalog.=) trials.run_id AND r.owner OPERATOR(pg_catalog.=) trails.caller()
    ));
CREATE POLICY own_timings ON timings
    USING (EXISTS (
        SELECT FROM trails.runs r
        WHERE r.run_id OPERATOR(pg_catalog.=) timings.run_id AND r.owner OPERATOR(pg_catalog.=) trails.caller()
    ));
CREATE POLICY own_checkpoints ON checkpoints
    USING (EXISTS (
        SELECT FROM trails.runs r
        WHERE r.run_id OPERATOR(pg_catalog.=) checkpoints.run_id AND r.owner OPERATOR(pg_catalog.=) trails.caller()
    ));

ALTER TABLE runs DROP CONSTRAINT runs_continues_fkey;
-- In place of a foreign key to the table itself, which pg_dump warns of.
CREATE FUNCTION forget_runs() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE trails.runs r SET continues = NULL FROM gone WHERE r.continues = gone.run_id;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION forget_runs IS 'a run that continued a deleted one continues none';
CREATE TRIGGER forget_runs AFTER DELETE ON runs REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION trails.forget_runs();

-- What a run was asked for. Of earlier runs it is not known.
ALTER TABLE runs ADD COLUMN relation pg_catalog.text;
ALTER TABLE runs ADD COLUMN validation_relation pg_catalog.text;
ALTER TABLE runs ADD COLUMN group_by pg_catalog.name;
ALTER TABLE runs ADD COLUMN time_by pg_catalog.name;
ALTER TABLE runs ADD COLUMN weight pg_catalog.name;
ALTER TABLE runs ADD COLUMN held_out pg_catalog.jsonb;
ALTER TABLE runs ADD COLUMN asked_n integer;
ALTER TABLE runs ADD COLUMN batch_size integer;
ALTER TABLE runs ADD COLUMN asked_task pg_catalog.text;
ALTER TABLE runs ADD COLUMN asked_features pg_catalog.name[];
ALTER TABLE runs ADD COLUMN asked_architectures pg_catalog.text[];
COMMENT ON COLUMN runs.relation IS 'source as trails.relation_identity tells relations apart, whatever they are called';
COMMENT ON COLUMN runs.validation_relation IS 'the same of validation';
COMMENT ON COLUMN runs.metric IS 'what validation_metric is; candidates are compared by it';
COMMENT ON COLUMN runs.group_by IS 'the column whose groups are held out as a whole';
COMMENT ON COLUMN runs.time_by IS 'the column by which the latest rows are held out';
COMMENT ON COLUMN runs.weight IS 'the column that says what a row counts for';
COMMENT ON COLUMN runs.held_out IS 'how rows were held out, by which column, rows and groups on each side, and from which time on';
COMMENT ON COLUMN runs.asked_n IS 'n as the caller fixed it; NULL where it was left to the metric';
COMMENT ON COLUMN runs.batch_size IS 'rows that metrics read; NULL where nothing was scored, and of runs of an earlier release';
COMMENT ON COLUMN runs.asked_task IS 'task as the caller said; NULL where it was inferred';
COMMENT ON COLUMN runs.asked_features IS 'features as the caller named them; NULL where nobody did';
COMMENT ON COLUMN runs.asked_architectures IS 'the candidates that the caller named';

-- The registry. It is written by the functions, which look the rows up as the caller and write them as the tables' owner, so
-- that state, time of deployment, owner and weights are what the functions say they are.
ALTER TABLE models DROP CONSTRAINT models_name_check;
ALTER TABLE models ADD CONSTRAINT models_name_check CHECK (
    name OPERATOR(pg_catalog.<>) '' AND pg_catalog.length(name) OPERATOR(pg_catalog.<=) 200
    AND name OPERATOR(pg_catalog.!~) '[/@]'
);
ALTER TABLE models ALTER COLUMN owner DROP DEFAULT;
ALTER TABLE models ALTER COLUMN owner TYPE pg_catalog.regrole
    USING COALESCE(pg_catalog.to_regrole(pg_catalog.quote_ident(owner)), CAST('-' AS pg_catalog.regrole));
ALTER TABLE models ALTER COLUMN owner SET DEFAULT trails.caller();
ALTER TABLE models ADD COLUMN relation pg_catalog.text;
ALTER TABLE models ADD COLUMN made_of pg_catalog.jsonb;
ALTER TABLE models ADD COLUMN threshold double precision CHECK (
    threshold OPERATOR(pg_catalog.>=) 0 AND threshold OPERATOR(pg_catalog.<=) 1
);
COMMENT ON COLUMN models.relation IS 'source as trails.relation_identity tells relations apart, whatever they are called';
COMMENT ON COLUMN models.made_of IS 'the run that made it, as trails.runs had it: rows, columns, seconds, options; stays when the run is dropped';
COMMENT ON COLUMN models.threshold IS 'probability from which the second of two classes is predicted; NULL: the likelier one is';

ALTER TABLE model_grants ALTER COLUMN owner DROP DEFAULT;
ALTER TABLE model_grants ALTER COLUMN owner TYPE pg_catalog.regrole
    USING COALESCE(pg_catalog.to_regrole(pg_catalog.quote_ident(owner)), CAST('-' AS pg_catalog.regrole));
ALTER TABLE model_grants ALTER COLUMN owner SET DEFAULT trails.caller();
ALTER TABLE model_grants ALTER COLUMN grantee TYPE pg_catalog.regrole
    USING CASE WHEN grantee OPERATOR(pg_catalog.=) 'public' THEN CAST('-' AS pg_catalog.regrole)
        ELSE pg_catalog.to_regrole(pg_catalog.quote_ident(grantee)) END;
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

SELECT pg_catalog.pg_extension_config_dump('unregistered_models', '');

CREATE FUNCTION relation_identity(source pg_catalog.regclass) RETURNS pg_catalog.text
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'relation_identity_wrapper';
COMMENT ON FUNCTION relation_identity IS 'what tells a relation from all others, in any database: cluster, database and OID';

-- 0.2.0 looked relations up by name, so those that have the names now are the ones. Names are compared and never looked up:
-- roles could write what they liked there.
UPDATE trails.runs r SET relation = trails.relation_identity(CAST(c.oid AS pg_catalog.regclass))
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE pg_catalog.format('%I.%I', n.nspname, c.relname) OPERATOR(pg_catalog.=) r.source;
UPDATE trails.runs r SET validation_relation = trails.relation_identity(CAST(c.oid AS pg_catalog.regclass))
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE pg_catalog.format('%I.%I', n.nspname, c.relname) OPERATOR(pg_catalog.=) r.validation;
UPDATE trails.models m SET relation = trails.relation_identity(CAST(c.oid AS pg_catalog.regclass))
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE pg_catalog.format('%I.%I', n.nspname, c.relname) OPERATOR(pg_catalog.=) m.source;
-- Only of a role's own run: any number could be written there.
UPDATE trails.models m SET made_of = pg_catalog.jsonb_strip_nulls(
    pg_catalog.to_jsonb(r) OPERATOR(pg_catalog.-) ARRAY['owner', 'relation', 'validation_relation']
)
FROM trails.runs r WHERE r.run_id OPERATOR(pg_catalog.=) m.run_id AND r.owner OPERATOR(pg_catalog.=) m.owner;

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

CREATE OR REPLACE FUNCTION find_model(
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

CREATE FUNCTION recipe(run bigint) RETURNS pg_catalog.text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r trails.runs;
    -- By the names that the relations have now, or else had then.
    source_name text;
    validation_name text;
    searched boolean;
    told text := '';
    arguments text[];
BEGIN
    SELECT s.* INTO r FROM trails.runs s WHERE s.run_id = run;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'you have no run %', run USING ERRCODE = 'undefined_object',
            HINT = 'SELECT run_id, source, state FROM trails.runs shows your runs.';
    END IF;
    IF r.function = 'resume' THEN
        IF r.continues IS NULL THEN
            RETURN '-- It went on from a run that has been dropped, and nothing repeats it.';
        END IF;
        arguments := ARRAY[format('run => %s', r.continues)];
        IF r.budget <> '60 s' THEN
            arguments := arguments || format('budget => %L', trim_scale(extract(epoch FROM r.budget)) || ' s');
        END IF;
        RETURN format(E'SELECT * FROM trails.resume(\n    %s\n);', array_to_string(arguments, E',\n    '));
    END IF;

    SELECT format('%I.%I', n.nspname, c.relname) INTO source_name
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = CASE WHEN trails.relation_exists(r.relation) THEN split_part(r.relation, ':', 3)::oid END;
    SELECT format('%I.%I', n.nspname, c.relname) INTO validation_name
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = CASE WHEN trails.relation_exists(r.validation_relation)
        THEN split_part(r.validation_relation, ':', 3)::oid END;
    searched := r.function <> 'refinement_phase';
    IF searched AND r.batch_size IS NULL THEN
        told := E'-- An earlier release made this run, and did not record which n, batch_size, task and features it was\n'
            || E'-- asked for: they are left out.\n';
    ELSIF NOT searched AND r.asked_architectures IS NULL THEN
        told := E'-- An earlier release made this run, and did not record which task and features it was asked for, nor\n'
            || E'-- candidates that it did not come to train: they are left out.\n';
        r.asked_architectures := ARRAY(
            SELECT c.architecture FROM trails.candidates c WHERE c.run_id = run ORDER BY c.score_rank, c.architecture
        );
    END IF;
    arguments := ARRAY[
        format('source => %L', COALESCE(source_name, r.source)),
        format('target => %L', r.target),
        CASE WHEN NOT searched THEN format('architectures => %L', r.asked_architectures) END,
        CASE WHEN r.function = 'model_selection_workloads' THEN format('n => %s', COALESCE(r.asked_n, r.n))
            ELSE 'n => ' || r.asked_n END,
        CASE WHEN searched THEN 'k => ' || r.asked_k END,
        CASE WHEN r.function <> 'model_selection_workloads' THEN 'u => ' || r.asked_u
            WHEN r.asked_u IS DISTINCT FROM 1 THEN 'u => ' || COALESCE(r.asked_u::text, 'NULL') END,
        CASE WHEN r.budget <> '60 s'
            THEN format('budget => %L', trim_scale(extract(epoch FROM r.budget)) || ' s') END,
        CASE WHEN r.asked_features IS NOT NULL THEN format('features => %L', r.asked_features) END,
        CASE WHEN r.validation IS NOT NULL THEN format('validation => %L', COALESCE(validation_name, r.validation)) END,
        CASE WHEN r.space <> 'mlp4x20' THEN format('space => %L', r.space) END,
        CASE WHEN searched AND r.tfmem <> 'expressflow' THEN format('tfmem => %L', r.tfmem) END,
        CASE WHEN r.refinement <> 'sh' THEN format('refinement => %L', r.refinement) END,
        CASE WHEN r.seed <> 1 THEN format('seed => %L', r.seed) END,
        CASE WHEN r.batch_size <> 32 THEN 'batch_size => ' || r.batch_size END,
        CASE WHEN r.options IS NOT NULL THEN format('options => %L', r.options) END,
        CASE WHEN r.asked_task IS NOT NULL THEN format('task => %L', r.asked_task) END,
        CASE WHEN r.split IS NOT NULL THEN format('split => %L', r.split) END,
        CASE WHEN r.model IS NOT NULL THEN format('name => %L', r.model) END,
        CASE WHEN r.group_by IS NOT NULL THEN format('group_by => %L', r.group_by) END,
        CASE WHEN r.time_by IS NOT NULL THEN format('time_by => %L', r.time_by) END,
        CASE WHEN r.weight IS NOT NULL THEN format('weight => %L', r.weight) END,
        CASE WHEN r.metric <> CASE r.task WHEN 'binary' THEN 'auc' WHEN 'multiclass' THEN 'accuracy' ELSE 'r2' END
            THEN format('metric => %L', r.metric) END
    ];
    RETURN format(
        E'%sSELECT * FROM trails.%s(\n    %s\n);', told, r.function,
        array_to_string(array_remove(arguments, NULL), E',\n    ')
    );
END $$;
COMMENT ON FUNCTION recipe IS
    'the statement that repeats a run, with every argument that is not the default; the tables by the names they have now';

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

COMMENT ON FUNCTION export_model IS 'a model as a file''s content: safetensors, with the encoder in its header; onnx, which takes a table''s columns; or onnx_encoded';

CREATE FUNCTION describe_columns(
    source pg_catalog.regclass,
    features pg_catalog.name[] DEFAULT NULL
) RETURNS TABLE (
    column_name pg_catalog.text,
    type pg_catalog.text,
    kind pg_catalog.text,
    rows bigint,
    nulls bigint,
    distinct_texts bigint,
    minimum pg_catalog.text,
    maximum pg_catalog.text,
    reading pg_catalog.text
) LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'describe_columns_wrapper';
COMMENT ON FUNCTION describe_columns IS
    'what Trails sees in a relation: every column, what it is read as (NULL: it cannot be read), and what it holds';

CREATE FUNCTION encoding(model pg_catalog.text) RETURNS TABLE (
    field integer,
    column_name pg_catalog.text,
    kind pg_catalog.text,
    part pg_catalog.text,
    encoding pg_catalog.text,
    first_row bigint,
    embedding_rows bigint,
    categories bigint,
    buckets bigint,
    examples pg_catalog.text[],
    edges double precision[],
    scale double precision,
    mean double precision,
    std double precision,
    reading pg_catalog.text
) LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'encoding_wrapper';
COMMENT ON FUNCTION encoding IS
    'how a model encodes its columns: the categories, bins or scale of every field, and its rows of the embedding';

CREATE FUNCTION keep_model(
    run bigint,
    name pg_catalog.text DEFAULT NULL
) RETURNS pg_catalog.text LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'keep_model_wrapper';
COMMENT ON FUNCTION keep_model IS
    'keeps the model of a run of yours that could not be kept when the run ended, without training it again';

CREATE FUNCTION model_selection(
    source pg_catalog.regclass,
    target pg_catalog.name,
    budget interval DEFAULT '60 s',
    features pg_catalog.name[] DEFAULT NULL,
    validation pg_catalog.regclass DEFAULT NULL,
    space pg_catalog.text DEFAULT 'mlp4x20',
    tfmem trails.tfmem DEFAULT 'expressflow',
    refinement pg_catalog.text DEFAULT 'sh',
    n integer DEFAULT NULL,
    k integer DEFAULT NULL,
    u integer DEFAULT NULL,
    seed bigint DEFAULT 1,
    batch_size integer DEFAULT 32,
    options pg_catalog.jsonb DEFAULT NULL,
    task pg_catalog.text DEFAULT NULL,
    split pg_catalog.name DEFAULT NULL,
    name pg_catalog.text DEFAULT NULL,
    group_by pg_catalog.name DEFAULT NULL,
    time_by pg_catalog.name DEFAULT NULL,
    weight pg_catalog.name DEFAULT NULL,
    metric pg_catalog.text DEFAULT NULL
) RETURNS TABLE (
    rank integer,
    architecture pg_catalog.text,
    score double precision,
    validation_metric double precision,
    epochs integer,
    parameters bigint,
    seconds double precision,
    model pg_catalog.text
) LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'model_selection_wrapper';
COMMENT ON FUNCTION model_selection IS
    'ranks the architectures of a space without training, trains the best within the budget, returns the leaderboard';

CREATE FUNCTION model_selection_workloads(
    source pg_catalog.regclass,
    target pg_catalog.name,
    n integer,
    k integer,
    u integer DEFAULT 1,
    features pg_catalog.name[] DEFAULT NULL,
    validation pg_catalog.regclass DEFAULT NULL,
    space pg_catalog.text DEFAULT 'mlp4x20',
    tfmem trails.tfmem DEFAULT 'expressflow',
    refinement pg_catalog.text DEFAULT 'sh',
    seed bigint DEFAULT 1,
    batch_size integer DEFAULT 32,
    options pg_catalog.jsonb DEFAULT NULL,
    task pg_catalog.text DEFAULT NULL,
    split pg_catalog.name DEFAULT NULL,
    group_by pg_catalog.name DEFAULT NULL,
    time_by pg_catalog.name DEFAULT NULL,
    weight pg_catalog.name DEFAULT NULL,
    metric pg_catalog.text DEFAULT NULL
) RETURNS TABLE (
    run_id bigint,
    phase pg_catalog.text,
    process pg_catalog.text,
    begin_seconds double precision,
    seconds double precision
) LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'model_selection_workloads_wrapper';
COMMENT ON FUNCTION model_selection_workloads IS
    'scores n architectures and trains k of them, u epochs first, however long it takes, and tells where the time went';

CREATE FUNCTION filtering_phase(
    source pg_catalog.regclass,
    target pg_catalog.name DEFAULT NULL,
    n integer DEFAULT NULL,
    k integer DEFAULT NULL,
    tfmem trails.tfmem DEFAULT 'expressflow',
    space pg_catalog.text DEFAULT 'mlp4x20',
    batch_size integer DEFAULT 32,
    seed bigint DEFAULT 1,
    features pg_catalog.name[] DEFAULT NULL,
    sampler pg_catalog.text DEFAULT NULL,
    budget interval DEFAULT NULL
) RETURNS TABLE (
    rank integer,
    architecture pg_catalog.text,
    score double precision,
    scores pg_catalog.jsonb,
    parameters bigint,
    flops bigint,
    seconds double precision
) LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'filtering_phase_wrapper';
COMMENT ON FUNCTION filtering_phase IS
    'scores n architectures of a space on a batch of a table or its pictures, without training, and returns the k best';

CREATE FUNCTION refinement_phase(
    source pg_catalog.regclass,
    target pg_catalog.name,
    architectures pg_catalog.text[],
    u integer DEFAULT NULL,
    budget interval DEFAULT '60 s',
    features pg_catalog.name[] DEFAULT NULL,
    validation pg_catalog.regclass DEFAULT NULL,
    space pg_catalog.text DEFAULT 'mlp4x20',
    refinement pg_catalog.text DEFAULT 'sh',
    seed bigint DEFAULT 1,
    options pg_catalog.jsonb DEFAULT NULL,
    task pg_catalog.text DEFAULT NULL,
    split pg_catalog.name DEFAULT NULL,
    name pg_catalog.text DEFAULT NULL,
    group_by pg_catalog.name DEFAULT NULL,
    time_by pg_catalog.name DEFAULT NULL,
    weight pg_catalog.name DEFAULT NULL,
    metric pg_catalog.text DEFAULT NULL
) RETURNS TABLE (
    rank integer,
    architecture pg_catalog.text,
    rung integer,
    epoch integer,
    train_loss double precision,
    validation_loss double precision,
    validation_metric double precision,
    seconds double precision
) LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'refinement_phase_wrapper';
COMMENT ON FUNCTION refinement_phase IS
    'trains the named architectures within the budget, and returns their learning curves, best candidate first';

COMMENT ON FUNCTION resume IS
    'goes on with a run of yours that was cut, as a new run, or keeps the model that a run could not; returns the leaderboard';

CREATE FUNCTION deploy(model pg_catalog.text, threshold double precision DEFAULT NULL)
    RETURNS TABLE (name pg_catalog.text, version integer, replaced integer)
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'deploy_wrapper';
COMMENT ON FUNCTION deploy IS
    'makes a version, the latest if none is named, the one that predictions by the model''s name use from now on; with a threshold from which two classes are told apart';

CREATE OR REPLACE FUNCTION rollback(name pg_catalog.text) RETURNS TABLE (version integer, replaced integer)
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'rollback_wrapper';
COMMENT ON FUNCTION rollback IS 'deploys the version that was deployed before the present one';

CREATE FUNCTION drop_run(run bigint, checkpoint_only boolean DEFAULT false) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'drop_run_wrapper';
COMMENT ON FUNCTION drop_run IS
    'deletes a run of yours with all that was recorded of it but its models, or its checkpoint alone; false if there is none';

CREATE OR REPLACE FUNCTION drop_model(model pg_catalog.text, all_versions boolean DEFAULT false) RETURNS integer
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'drop_model_wrapper';
COMMENT ON FUNCTION drop_model IS 'deletes a model, or all versions of it; returns how many';

CREATE OR REPLACE FUNCTION grant_model(name pg_catalog.text, grantee pg_catalog.name) RETURNS pg_catalog.void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'grant_model_wrapper';
COMMENT ON FUNCTION grant_model IS 'lets a role, or public, predict with all versions of a model; it needs trails_user too';

CREATE OR REPLACE FUNCTION revoke_model(name pg_catalog.text, grantee pg_catalog.name) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'revoke_model_wrapper';
COMMENT ON FUNCTION revoke_model IS 'takes back what trails.grant_model granted; false if nothing was';

CREATE FUNCTION relation_exists(identity pg_catalog.text) RETURNS boolean
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'relation_exists_wrapper';
COMMENT ON FUNCTION relation_exists IS 'whether a relation of that identity is in this database';

-- Training anew.

CREATE FUNCTION retrain(
    model pg_catalog.text,
    source pg_catalog.regclass DEFAULT NULL,
    budget interval DEFAULT '20 s',
    deploy pg_catalog.text DEFAULT 'if_better'
) RETURNS TABLE (
    new_model pg_catalog.text,
    run_id bigint,
    architecture pg_catalog.text,
    metric pg_catalog.text,
    value double precision,
    deployed_model pg_catalog.text,
    deployed_value double precision,
    is_deployed boolean,
    decision pg_catalog.text
) LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'retrain_wrapper';
COMMENT ON FUNCTION retrain IS
    'trains the next version of a model of yours from the best architectures of its last run, on the rows that there are now, and deploys it if it is better than the one in use';

-- How far rows are from those of training.

CREATE FUNCTION drift(
    model pg_catalog.text,
    source pg_catalog.regclass,
    threshold double precision DEFAULT 0.1
) RETURNS TABLE (
    feature pg_catalog.text,
    metric pg_catalog.text,
    value double precision,
    is_anomaly boolean,
    nulls_then double precision,
    nulls_now double precision,
    unknown_share double precision
) LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'drift_wrapper';
COMMENT ON FUNCTION drift IS
    'how far the rows of a table or view are from those that a model was trained on, column by column; model NULL: the one deployed for source';

-- Judging and explaining.

CREATE FUNCTION evaluate(
    model pg_catalog.text,
    source pg_catalog.regclass,
    target pg_catalog.name DEFAULT NULL,
    threshold double precision DEFAULT NULL,
    weight pg_catalog.name DEFAULT NULL
) RETURNS TABLE (
    metric pg_catalog.text,
    class pg_catalog.text,
    value double precision,
    rows bigint
) LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'evaluate_wrapper';
COMMENT ON FUNCTION evaluate IS
    'how well a model does on the rows of a table or view whose target is known; model NULL: the one deployed for source and target';

CREATE FUNCTION confusion_matrix(
    model pg_catalog.text,
    source pg_catalog.regclass,
    target pg_catalog.name DEFAULT NULL,
    threshold double precision DEFAULT NULL
) RETURNS TABLE (
    actual pg_catalog.text,
    predicted pg_catalog.text,
    rows bigint,
    share double precision
) LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'confusion_matrix_wrapper';
COMMENT ON FUNCTION confusion_matrix IS
    'how many rows of each class a model takes for which, of a table or view whose target is known';

CREATE FUNCTION threshold_curve(
    model pg_catalog.text,
    source pg_catalog.regclass,
    target pg_catalog.name DEFAULT NULL,
    points integer DEFAULT 100
) RETURNS TABLE (
    threshold double precision,
    recall double precision,
    "precision" double precision,
    false_positive_rate double precision,
    f1 double precision,
    true_positives bigint,
    false_positives bigint,
    true_negatives bigint,
    false_negatives bigint
) LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'threshold_curve_wrapper';
COMMENT ON FUNCTION threshold_curve IS
    'what thresholds of a model of two classes come to on the rows of a table or view, the largest first';

CREATE FUNCTION best_threshold(
    model pg_catalog.text,
    source pg_catalog.regclass,
    target pg_catalog.name DEFAULT NULL,
    metric pg_catalog.text DEFAULT 'f1'
) RETURNS TABLE (
    threshold double precision,
    value double precision,
    recall double precision,
    "precision" double precision
) LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'best_threshold_wrapper';
COMMENT ON FUNCTION best_threshold IS
    'the threshold at which a model of two classes does best on the rows of a table or view: by f1, accuracy, balanced_accuracy or mcc';

CREATE FUNCTION feature_importance(
    model pg_catalog.text,
    source pg_catalog.regclass,
    target pg_catalog.name DEFAULT NULL,
    metric pg_catalog.text DEFAULT NULL,
    repeats integer DEFAULT 3,
    sample_rows integer DEFAULT 5000,
    seed bigint DEFAULT 1,
    budget interval DEFAULT '10 s'
) RETURNS TABLE (
    rank integer,
    feature pg_catalog.text,
    importance double precision,
    deviation double precision,
    repeats integer,
    baseline double precision
) LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'feature_importance_wrapper';
COMMENT ON FUNCTION feature_importance IS
    'how much worse a model does on a table or view when the cells of a column are shuffled among the rows, column by column';

CREATE FUNCTION explain(
    model pg_catalog.text,
    source pg_catalog.regclass,
    top integer DEFAULT 5,
    keys pg_catalog.text[] DEFAULT NULL,
    background pg_catalog.regclass DEFAULT NULL,
    samples integer DEFAULT 64,
    seed bigint DEFAULT 1
) RETURNS TABLE (
    key pg_catalog.text,
    prediction pg_catalog.text,
    score double precision,
    baseline double precision,
    feature pg_catalog.text,
    value pg_catalog.text,
    contribution double precision,
    residual double precision
) LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'explain_wrapper';
COMMENT ON FUNCTION explain IS
    'what each column of a row adds to its score, against the mean score of rows of the background; keys NULL: of every row';

CREATE FUNCTION partial_dependence(
    model pg_catalog.text,
    source pg_catalog.regclass,
    feature pg_catalog.name,
    points integer DEFAULT 20,
    sample_rows integer DEFAULT 5000,
    seed bigint DEFAULT 1
) RETURNS TABLE (
    value pg_catalog.text,
    class pg_catalog.text,
    score double precision,
    deviation double precision,
    rows bigint
) LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'partial_dependence_wrapper';
COMMENT ON FUNCTION partial_dependence IS
    'what a model says on average of the rows of a table or view where a column has the same value in each, value by value';

CREATE FUNCTION statements_under_way() RETURNS TABLE (
    pid integer,
    run_id bigint,
    function pg_catalog.text,
    database pg_catalog.text,
    role pg_catalog.text,
    source pg_catalog.text,
    model pg_catalog.text,
    phase pg_catalog.text,
    started double precision,
    elapsed double precision,
    budget double precision,
    scored bigint,
    candidates integer,
    k integer,
    u integer,
    rung integer,
    epochs bigint,
    metric pg_catalog.text,
    best_architecture pg_catalog.text,
    best_metric double precision,
    stopping boolean
) LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'statements_under_way_wrapper';
COMMENT ON FUNCTION statements_under_way IS 'what trails.progress shows, with times in seconds';

CREATE VIEW progress AS
SELECT s.pid, s.run_id, s.function, s.database::pg_catalog.name, s.role::pg_catalog.name, s.source, s.model, s.phase,
       pg_catalog.to_timestamp(s.started) AS started,
       pg_catalog.make_interval(secs => s.elapsed) AS elapsed,
       pg_catalog.make_interval(secs => s.budget) AS budget,
       CASE WHEN s.budget OPERATOR(pg_catalog.>) 0
            THEN LEAST(100, 100 OPERATOR(pg_catalog.*) s.elapsed OPERATOR(pg_catalog./) s.budget) END AS percent,
       CASE WHEN s.budget OPERATOR(pg_catalog.>) 0
            THEN pg_catalog.make_interval(secs => GREATEST(0, s.budget OPERATOR(pg_catalog.-) s.elapsed)) END AS remaining,
       s.scored, s.candidates, s.k, s.u, s.rung, s.epochs, s.metric, s.best_architecture, s.best_metric, s.stopping
FROM trails.statements_under_way() s;
COMMENT ON VIEW progress IS 'selections and filtering phases that run just now: a role''s own, in every database';

CREATE FUNCTION trials_under_way() RETURNS TABLE (
    pid integer,
    run_id bigint,
    place bigint,
    architecture pg_catalog.text,
    rung integer,
    epoch integer,
    train_loss double precision,
    validation_loss double precision,
    validation_metric double precision,
    seconds double precision,
    at double precision
) LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'trials_under_way_wrapper';
COMMENT ON FUNCTION trials_under_way IS 'what trails.live_trials shows, with times in seconds';

CREATE VIEW live_trials AS
SELECT t.pid, t.run_id, t.place, t.architecture, t.rung, t.epoch, t.train_loss, t.validation_loss, t.validation_metric,
       t.seconds, pg_catalog.to_timestamp(t.at) AS at
FROM trails.trials_under_way() t;
COMMENT ON VIEW live_trials IS 'the latest 4,096 epochs of each run that trains just now';

CREATE FUNCTION stop(run bigint) RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'stop_wrapper';
COMMENT ON FUNCTION stop IS
    'has a run that is under way finish now with the best so far; false if that was asked before, or it is ending anyway';

CREATE FUNCTION cancel(run bigint) RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cancel_wrapper';
COMMENT ON FUNCTION cancel IS 'cancels the statement that runs a run: nothing of it is kept';

-- Runs in the background: what was submitted, and what became of it. Row-level security shows each role its own rows, and
-- no role writes any: trails.submit and the workers do, as the table's owner. Nothing of it is dumped: a dump is loaded
-- into another server, where nobody has submitted anything.

CREATE TABLE jobs (
    run_id      bigint PRIMARY KEY,
    owner       pg_catalog.regrole NOT NULL,
    source      pg_catalog.text NOT NULL,
    target      pg_catalog.name NOT NULL,
    budget      interval,
    model       pg_catalog.text,
    request     pg_catalog.jsonb NOT NULL,
    settings    pg_catalog.jsonb NOT NULL,
    state       pg_catalog.text NOT NULL DEFAULT 'queued' CHECK (
                    state OPERATOR(pg_catalog.=) ANY (
                        ARRAY['queued', 'running', 'complete', 'best so far', 'failed', 'cancelled']
                    )
                ),
    submitted   pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    started     pg_catalog.timestamptz,
    finished    pg_catalog.timestamptz,
    pid         integer,
    offered     pg_catalog.timestamptz,
    offers      integer NOT NULL DEFAULT 0,
    sqlstate    pg_catalog.text,
    message     pg_catalog.text,
    detail      pg_catalog.text,
    hint        pg_catalog.text
);
CREATE INDEX jobs_unfinished ON jobs (run_id) WHERE state OPERATOR(pg_catalog.=) ANY (ARRAY['queued', 'running']);
COMMENT ON TABLE jobs IS 'runs that trails.submit was asked for; trails.background_runs shows them as they are now';
COMMENT ON COLUMN jobs.run_id IS 'the number that trails.submit returned, and that the row in trails.runs has once the run has ended';
COMMENT ON COLUMN jobs.owner IS 'the role that the run runs as';
COMMENT ON COLUMN jobs.model IS 'the name under which the winner is to be kept; with its version, once it is';
COMMENT ON COLUMN jobs.request IS 'what the run is asked for';
COMMENT ON COLUMN jobs.settings IS 'settings of the session that submitted it, which the worker has too; empty once it has them';
COMMENT ON COLUMN jobs.state IS 'what was written last; a worker that was killed wrote nothing more, which trails.job_state knows';
COMMENT ON COLUMN jobs.pid IS 'the process that runs it, or ran it';
COMMENT ON COLUMN jobs.offered IS 'when a worker was last started for it';
COMMENT ON COLUMN jobs.offers IS 'how many workers were started for it in vain';
COMMENT ON COLUMN jobs.sqlstate IS 'of what ended it, or cut it';

ALTER TABLE jobs ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_jobs ON jobs FOR SELECT USING (owner OPERATOR(pg_catalog.=) trails.caller());

CREATE FUNCTION submit(
    source pg_catalog.regclass,
    target pg_catalog.name,
    budget interval DEFAULT '60 s',
    features pg_catalog.name[] DEFAULT NULL,
    validation pg_catalog.regclass DEFAULT NULL,
    space pg_catalog.text DEFAULT 'mlp4x20',
    tfmem trails.tfmem DEFAULT 'expressflow',
    refinement pg_catalog.text DEFAULT 'sh',
    n integer DEFAULT NULL,
    k integer DEFAULT NULL,
    u integer DEFAULT NULL,
    seed bigint DEFAULT 1,
    batch_size integer DEFAULT 32,
    options pg_catalog.jsonb DEFAULT NULL,
    task pg_catalog.text DEFAULT NULL,
    split pg_catalog.name DEFAULT NULL,
    name pg_catalog.text DEFAULT NULL,
    group_by pg_catalog.name DEFAULT NULL,
    time_by pg_catalog.name DEFAULT NULL,
    weight pg_catalog.name DEFAULT NULL,
    metric pg_catalog.text DEFAULT NULL
) RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'submit_wrapper';
COMMENT ON FUNCTION submit IS
    'has trails.model_selection run in the background once the transaction is committed; returns the number of the run';

CREATE FUNCTION wait(run bigint, timeout interval DEFAULT NULL) RETURNS pg_catalog.text
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'wait_wrapper';
COMMENT ON FUNCTION wait IS
    'waits until a run in the background has ended, or for as long as is said; returns the state that it has then';

CREATE FUNCTION withdraw(run bigint) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'withdraw_wrapper';
COMMENT ON FUNCTION withdraw IS 'takes a run that waits for its turn out of the queue; false if it does not wait';

CREATE FUNCTION job_state(run bigint, state pg_catalog.text) RETURNS pg_catalog.text
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'job_state_wrapper';
COMMENT ON FUNCTION job_state IS
    'what is true now of a run whose row says state: one that says running, and whose worker is gone, has failed';

CREATE FUNCTION purge_runs(older_than interval, keep integer DEFAULT 0, with_models boolean DEFAULT false) RETURNS bigint
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'purge_runs_wrapper';
COMMENT ON FUNCTION purge_runs IS
    'deletes your runs that ended longer ago, but your newest, and those that models came from; returns how many';

-- As the caller, whose own rows these are. The state is asked for once a row.
CREATE VIEW background_runs WITH (security_invoker) AS
SELECT j.run_id, j.owner, j.source, j.target, j.budget, j.model, s.state, j.submitted, j.started, j.finished, j.pid,
    CASE WHEN s.gone AND j.state OPERATOR(pg_catalog.=) 'running' THEN '57P01' WHEN s.gone THEN '28000'
        ELSE j.sqlstate END AS sqlstate,
    CASE WHEN s.gone AND j.state OPERATOR(pg_catalog.=) 'running'
            THEN 'the worker ended: the server was restarted, or it was killed'
        WHEN s.gone THEN 'the run cannot start: its role may not log in'
        ELSE j.message END AS message,
    j.detail, j.hint
FROM trails.jobs j
CROSS JOIN LATERAL (
    SELECT n.state, n.state OPERATOR(pg_catalog.=) 'failed' AND j.finished IS NULL AS gone
    FROM (
        SELECT CASE WHEN j.state OPERATOR(pg_catalog.=) ANY (ARRAY['queued', 'running'])
            THEN trails.job_state(j.run_id, j.state) ELSE j.state END AS state
        OFFSET 0
    ) n
) s;
COMMENT ON VIEW background_runs IS 'your runs that trails.submit was asked for, with the state that each has now';

-- Who may do what: everything goes to the role trails_user, nothing to everybody.

REVOKE ALL ON runs, candidates, trials, timings, checkpoints, models, model_grants FROM trails_user;
-- No DELETE, with which comes the right to lock a table against everybody: trails.drop_run and trails.drop_model delete.
GRANT SELECT ON runs, candidates, trials, timings, checkpoints, models, unregistered_models, model_grants, jobs, background_runs
    TO trails_user;
-- Each role sees its own there, whoever selects: the functions beneath look at who asks.
GRANT SELECT ON progress, live_trials TO trails_user;
-- By column: a run's number comes from its sequence, its owner is who writes it. Models are written by the functions only.
GRANT INSERT (
    function, continues, source, relation, target, task, metric, model, validation, validation_relation, split, group_by,
    time_by, weight, held_out, features, left_out, budget, space, tfmem, refinement, options, seed, device, train_rows, validation_rows, unusable_rows, scored,
    failed_scores, n, k, u, asked_n, asked_k, asked_u, batch_size, asked_task, asked_features, asked_architectures, state, fault, started, finished, reading_seconds, filtering_seconds,
    start_seconds, first_batch_seconds, refinement_seconds, total_seconds
) ON runs TO trails_user;
GRANT INSERT ON candidates, trials, timings, checkpoints TO trails_user;

-- Functions that are new here, or made anew: what a DBA has granted or revoked on the others stays as it is.
DO $$
DECLARE
    made pg_catalog.record;
BEGIN
    FOR made IN
        SELECT p.proname, pg_catalog.format('trails.%I(%s)', p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid)) AS function
        FROM pg_catalog.pg_proc p
        WHERE p.pronamespace OPERATOR(pg_catalog.=) CAST('trails' AS pg_catalog.regnamespace) AND p.proacl IS NULL
    LOOP
        EXECUTE pg_catalog.format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', made.function);
        -- Weights from elsewhere are for those to bring in who answer for them.
        IF made.proname OPERATOR(pg_catalog.<>) 'import_model' THEN
            EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION %s TO trails_user', made.function);
        END IF;
    END LOOP;
END $$;
-- The type trails.tfmem must be readable by whoever has been granted it.
GRANT EXECUTE ON FUNCTION tfmem_in(pg_catalog.cstring), tfmem_out(tfmem), tfmem_recv(pg_catalog.internal), tfmem_send(tfmem) TO PUBLIC;
