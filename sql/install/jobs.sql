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
