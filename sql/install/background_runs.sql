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
