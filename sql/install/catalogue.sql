-- The catalogue of Trails: what was run, what was ranked, what was trained.
-- Everything here belongs to the extension, is dumped by pg_dump, and shows each role its own runs only:
-- the functions write as the caller, and row-level security ties every row to the role that made it.

CREATE TABLE runs (
    run_id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner               name NOT NULL DEFAULT current_user,
    source              text NOT NULL,
    target              name NOT NULL,
    validation          text,
    features            name[] NOT NULL,
    left_out            jsonb NOT NULL DEFAULT '{}',
    budget              interval NOT NULL,
    space               text NOT NULL,
    tfmem               text NOT NULL,
    seed                bigint NOT NULL,
    device              text,
    train_rows          bigint NOT NULL,
    validation_rows     bigint,
    unusable_rows       bigint NOT NULL,
    scored              bigint NOT NULL,
    failed_scores       bigint NOT NULL,
    n                   bigint NOT NULL,
    k                   integer NOT NULL,
    u                   integer NOT NULL,
    state               text NOT NULL CHECK (state IN ('complete', 'best so far')),
    started             timestamptz NOT NULL,
    finished            timestamptz NOT NULL,
    reading_seconds     double precision NOT NULL,
    filtering_seconds   double precision NOT NULL,
    start_seconds       double precision,
    refinement_seconds  double precision NOT NULL,
    total_seconds       double precision NOT NULL
);
COMMENT ON TABLE runs IS 'one row per finished model selection: what was asked, what was planned, where the time went';
COMMENT ON COLUMN runs.left_out IS 'features that cannot help, with the reason each was left out';
COMMENT ON COLUMN runs.unusable_rows IS 'rows of source and validation whose target is NULL';
COMMENT ON COLUMN runs.state IS '''complete'' when every rung was trained as planned, ''best so far'' when the deadline or a fault cut it';
COMMENT ON COLUMN runs.start_seconds IS 'from the start of the refinement process until it was ready (interpreter and torch)';

CREATE TABLE candidates (
    run_id          bigint NOT NULL REFERENCES runs ON DELETE CASCADE,
    architecture    text NOT NULL,
    score           double precision,
    score_rank      integer NOT NULL,
    rank            integer,
    validation_auc  double precision,
    epochs          integer NOT NULL DEFAULT 0,
    parameters      bigint,
    seconds         double precision,
    PRIMARY KEY (run_id, architecture)
);
COMMENT ON TABLE candidates IS 'the architectures that refinement trained, with what training made of them';
COMMENT ON COLUMN candidates.score_rank IS 'place by TFMEM score among the architectures that filtering offered, 1 is best';
COMMENT ON COLUMN candidates.rank IS 'place on the leaderboard by validation AUC; NULL when it was never trained for a whole epoch';

CREATE TABLE trials (
    run_id          bigint NOT NULL REFERENCES runs ON DELETE CASCADE,
    architecture    text NOT NULL,
    rung            integer NOT NULL,
    epoch           integer NOT NULL,
    train_loss      double precision,
    validation_loss double precision,
    validation_auc  double precision,
    seconds         double precision NOT NULL,
    PRIMARY KEY (run_id, architecture, epoch)
);
COMMENT ON TABLE trials IS 'learning curves: one row per candidate and epoch, with the rung that paid for it';

ALTER TABLE runs ENABLE ROW LEVEL SECURITY;
ALTER TABLE candidates ENABLE ROW LEVEL SECURITY;
ALTER TABLE trials ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_runs ON runs USING (owner = current_user) WITH CHECK (owner = current_user);
CREATE POLICY own_candidates ON candidates
    USING (EXISTS (SELECT FROM runs r WHERE r.run_id = candidates.run_id AND r.owner = current_user));
CREATE POLICY own_trials ON trials
    USING (EXISTS (SELECT FROM runs r WHERE r.run_id = trials.run_id AND r.owner = current_user));

-- PUBLIC reaches these tables only with USAGE on the schema, which a DBA grants role by role.
GRANT SELECT, INSERT, DELETE ON runs, candidates, trials TO PUBLIC;

SELECT pg_catalog.pg_extension_config_dump('runs', '');
SELECT pg_catalog.pg_extension_config_dump('runs_run_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('candidates', '');
SELECT pg_catalog.pg_extension_config_dump('trials', '');
