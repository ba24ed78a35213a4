-- The catalogue of Trails: what was run, what was ranked, what was trained.
-- Everything here belongs to the extension, is dumped by pg_dump (checkpoints are not), and shows each role its own runs
-- only: the functions write as the caller, but for a run's own row, and row-level security ties every row to the role
-- that made it.

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
            HINT = 'DROP SCHEMA trails; CREATE EXTENSION makes it anew. Or ALTER SCHEMA trails OWNER TO CURRENT_USER.';
    END IF;
    IF EXISTS (
        SELECT FROM pg_catalog.aclexplode(here.nspacl) a
        WHERE a.privilege_type OPERATOR(pg_catalog.=) 'CREATE' AND a.grantee OPERATOR(pg_catalog.<>) here.nspowner
    ) THEN
        RAISE EXCEPTION 'others than its owner may create objects in the schema trails'
            USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'REVOKE CREATE ON SCHEMA trails FROM them, PUBLIC included; or DROP SCHEMA trails.';
    END IF;
    IF EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.relnamespace OPERATOR(pg_catalog.=) here.oid)
        OR EXISTS (SELECT FROM pg_catalog.pg_proc p WHERE p.pronamespace OPERATOR(pg_catalog.=) here.oid)
        OR EXISTS (SELECT FROM pg_catalog.pg_type t WHERE t.typnamespace OPERATOR(pg_catalog.=) here.oid)
        OR EXISTS (SELECT FROM pg_catalog.pg_operator o WHERE o.oprnamespace OPERATOR(pg_catalog.=) here.oid)
    THEN
        RAISE EXCEPTION 'the schema trails is not empty' USING ERRCODE = 'object_not_in_prerequisite_state',
            DETAIL = 'The extension has this schema for itself.',
            HINT = 'Move what is in it, or DROP SCHEMA trails CASCADE.';
    END IF;
END $$;

-- Owners are roles and no names: one that is renamed keeps what is its own, one that is made anew under an old name
-- gets nothing. pg_dump writes a regrole as its name.
CREATE FUNCTION caller() RETURNS pg_catalog.regrole LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CAST(pg_catalog.quote_ident(current_user) AS pg_catalog.regrole);
COMMENT ON FUNCTION caller IS 'the role that a statement runs as';

CREATE TABLE runs (
    run_id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner               pg_catalog.regrole NOT NULL DEFAULT trails.caller(),
    function            pg_catalog.text NOT NULL CHECK (
                            function OPERATOR(pg_catalog.=) ANY (
                                ARRAY['model_selection', 'refinement_phase', 'model_selection_workloads', 'resume']
                            )
                        ),
    continues           bigint,
    source              pg_catalog.text NOT NULL,
    relation            pg_catalog.text,
    target              pg_catalog.name NOT NULL,
    task                pg_catalog.text NOT NULL CHECK (
                            task OPERATOR(pg_catalog.=) ANY (ARRAY['binary', 'multiclass', 'regression'])
                        ),
    metric              pg_catalog.text NOT NULL,
    model               pg_catalog.text,
    validation          pg_catalog.text,
    validation_relation pg_catalog.text,
    split               pg_catalog.name,
    group_by            pg_catalog.name,
    time_by             pg_catalog.name,
    weight              pg_catalog.name,
    held_out            pg_catalog.jsonb,
    features            pg_catalog.name[] NOT NULL,
    left_out            pg_catalog.jsonb NOT NULL DEFAULT '{}',
    budget              interval,
    space               pg_catalog.text NOT NULL,
    tfmem               pg_catalog.text,
    refinement          pg_catalog.text NOT NULL,
    options             pg_catalog.jsonb,
    seed                bigint NOT NULL,
    device              pg_catalog.text,
    train_rows          bigint NOT NULL,
    validation_rows     bigint,
    unusable_rows       bigint NOT NULL,
    scored              bigint,
    failed_scores       bigint,
    n                   bigint,
    k                   integer,
    u                   integer,
    asked_n             integer,
    asked_k             integer,
    asked_u             integer,
    batch_size          integer,
    asked_task          pg_catalog.text,
    asked_features      pg_catalog.name[],
    asked_architectures pg_catalog.text[],
    state               pg_catalog.text NOT NULL CHECK (
                            state OPERATOR(pg_catalog.=) ANY (ARRAY['complete', 'best so far'])
                        ),
    fault               pg_catalog.text,
    started             pg_catalog.timestamptz NOT NULL,
    finished            pg_catalog.timestamptz NOT NULL,
    reading_seconds     double precision NOT NULL,
    filtering_seconds   double precision,
    start_seconds       double precision,
    first_batch_seconds double precision,
    refinement_seconds  double precision NOT NULL,
    total_seconds       double precision NOT NULL
);
CREATE INDEX runs_continues ON runs (continues);
COMMENT ON TABLE runs IS 'one row per finished run: what was asked, what was planned, where the time went';
COMMENT ON COLUMN runs.function IS 'the function that was called';
COMMENT ON COLUMN runs.continues IS 'the run that trails.resume continued';
COMMENT ON COLUMN runs.relation IS 'source as trails.relation_identity tells relations apart, whatever they are called';
COMMENT ON COLUMN runs.validation_relation IS 'the same of validation';
COMMENT ON COLUMN runs.metric IS 'what validation_metric is; candidates are compared by it';
COMMENT ON COLUMN runs.model IS 'the name under which the winner was to be kept';
COMMENT ON COLUMN runs.split IS 'the column that says which rows are held out';
COMMENT ON COLUMN runs.group_by IS 'the column whose groups are held out as a whole';
COMMENT ON COLUMN runs.time_by IS 'the column by which the latest rows are held out';
COMMENT ON COLUMN runs.weight IS 'the column that says what a row counts for';
COMMENT ON COLUMN runs.held_out IS 'how rows were held out, by which column, rows and groups on each side, and from which time on';
COMMENT ON COLUMN runs.left_out IS 'features that cannot help, with the reason each was left out';
COMMENT ON COLUMN runs.budget IS 'NULL where there was no limit';
COMMENT ON COLUMN runs.tfmem IS 'the metric that ranked the candidates; NULL where the caller named them';
COMMENT ON COLUMN runs.refinement IS 'the scheduler: sh, sj, ua or hyperband';
COMMENT ON COLUMN runs.options IS 'training options as they were given; trails.refinement_options() lists all and their defaults';
COMMENT ON COLUMN runs.unusable_rows IS 'rows of source and validation whose target is NULL';
COMMENT ON COLUMN runs.scored IS 'architectures that this run scored; NULL where it did not filter';
COMMENT ON COLUMN runs.n IS 'architectures scored; NULL where the caller named the candidates';
COMMENT ON COLUMN runs.k IS 'candidates of the first rung';
COMMENT ON COLUMN runs.u IS 'epochs of the first rung; NULL where the scheduler has no such number';
COMMENT ON COLUMN runs.asked_n IS 'n as the caller fixed it; NULL where it was left to the metric';
COMMENT ON COLUMN runs.asked_k IS 'k as the caller fixed it; NULL where it was planned';
COMMENT ON COLUMN runs.asked_u IS 'u as the caller fixed it; NULL where it was planned';
COMMENT ON COLUMN runs.batch_size IS 'rows that metrics read; NULL where nothing was scored, and of runs of an earlier release';
COMMENT ON COLUMN runs.asked_task IS 'task as the caller said; NULL where it was inferred';
COMMENT ON COLUMN runs.asked_features IS 'features as the caller named them; NULL where nobody did';
COMMENT ON COLUMN runs.asked_architectures IS 'the candidates that the caller named';
COMMENT ON COLUMN runs.state IS '''complete'' when every rung was trained as planned, ''best so far'' when the deadline or a fault cut it';
COMMENT ON COLUMN runs.fault IS 'what cut the run, if it was not its deadline';
COMMENT ON COLUMN runs.start_seconds IS 'from the start of the refinement process until it was ready (interpreter and torch)';
COMMENT ON COLUMN runs.first_batch_seconds IS 'from the call until the first batch of training rows was ready in the refinement process';

CREATE TABLE candidates (
    run_id          bigint NOT NULL REFERENCES runs ON DELETE CASCADE,
    architecture    pg_catalog.text NOT NULL,
    score           double precision,
    score_rank      integer,
    rank            integer,
    validation_metric  double precision,
    epochs          integer NOT NULL DEFAULT 0,
    parameters      bigint,
    seconds         double precision,
    PRIMARY KEY (run_id, architecture)
);
COMMENT ON TABLE candidates IS 'the architectures that refinement trained, with what training made of them';
COMMENT ON COLUMN candidates.score IS 'its TFMEM score; NULL where the caller named the candidates';
COMMENT ON COLUMN candidates.score_rank IS
    'place by TFMEM score among the architectures that filtering offered, 1 is best; place among those that the caller named';
COMMENT ON COLUMN candidates.rank IS 'place on the leaderboard by validation metric; NULL when it was never trained for a whole epoch';

CREATE TABLE trials (
    run_id          bigint NOT NULL REFERENCES runs ON DELETE CASCADE,
    architecture    pg_catalog.text NOT NULL,
    rung            integer NOT NULL,
    epoch           integer NOT NULL,
    train_loss      double precision,
    validation_loss double precision,
    validation_metric  double precision,
    seconds         double precision NOT NULL,
    PRIMARY KEY (run_id, architecture, epoch)
);
COMMENT ON TABLE trials IS 'learning curves: one row per candidate and epoch, with the rung that paid for it';

CREATE TABLE timings (
    run_id          bigint NOT NULL REFERENCES runs ON DELETE CASCADE,
    place           integer NOT NULL,
    phase           pg_catalog.text NOT NULL,
    process         pg_catalog.text NOT NULL CHECK (
                        process OPERATOR(pg_catalog.=) ANY (ARRAY['backend', 'refinement'])
                    ),
    begin_seconds   double precision NOT NULL,
    seconds         double precision NOT NULL,
    PRIMARY KEY (run_id, place)
);
COMMENT ON TABLE timings IS 'where the time of a run went, phase by phase, in the two processes that work at the same time';
COMMENT ON COLUMN timings.place IS 'by begin, 1 is first';
COMMENT ON COLUMN timings.process IS 'the backend that serves the statement, or the refinement process';
COMMENT ON COLUMN timings.begin_seconds IS 'from the call until the phase began';

CREATE TABLE checkpoints (
    run_id          bigint PRIMARY KEY REFERENCES runs ON DELETE CASCADE,
    rung            integer NOT NULL,
    weights         pg_catalog.bytea NOT NULL
);
-- Weights hardly get smaller, and compressing them takes seconds.
ALTER TABLE checkpoints ALTER COLUMN weights SET STORAGE EXTERNAL;
COMMENT ON TABLE checkpoints IS 'what trails.resume goes on from: runs that were cut, and no others, have one';
COMMENT ON COLUMN checkpoints.rung IS 'the last finished rung';
COMMENT ON COLUMN checkpoints.weights IS 'the survivors of that rung, as safetensors';

-- In place of a foreign key to the table itself, which pg_dump warns of.
CREATE FUNCTION forget_runs() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE trails.runs r SET continues = NULL FROM gone WHERE r.continues = gone.run_id;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION forget_runs IS 'a run that continued a deleted one continues none';
CREATE TRIGGER forget_runs AFTER DELETE ON runs REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION trails.forget_runs();

ALTER TABLE runs ENABLE ROW LEVEL SECURITY;
ALTER TABLE candidates ENABLE ROW LEVEL SECURITY;
ALTER TABLE trials ENABLE ROW LEVEL SECURITY;
ALTER TABLE timings ENABLE ROW LEVEL SECURITY;
ALTER TABLE checkpoints ENABLE ROW LEVEL SECURITY;
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

SELECT pg_catalog.pg_extension_config_dump('runs', '');
SELECT pg_catalog.pg_extension_config_dump('runs_run_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('candidates', '');
SELECT pg_catalog.pg_extension_config_dump('trials', '');
SELECT pg_catalog.pg_extension_config_dump('timings', '');
