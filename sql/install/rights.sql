-- Who may do what: everything goes to the role trails_user, nothing to everybody. A DBA grants that role.

DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) 'trails_user') THEN
        CREATE ROLE trails_user NOLOGIN;
        COMMENT ON ROLE trails_user IS 'may select, train and use models with the extension trails';
    END IF;
END $$;

GRANT USAGE ON SCHEMA trails TO trails_user;
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

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA trails FROM PUBLIC;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA trails TO trails_user;
-- Weights from elsewhere are for those to bring in who answer for them.
REVOKE EXECUTE ON FUNCTION import_model(pg_catalog.text, pg_catalog.bytea, pg_catalog.regclass, boolean) FROM trails_user;
-- The type trails.tfmem must be readable by whoever has been granted it.
GRANT EXECUTE ON FUNCTION tfmem_in(pg_catalog.cstring), tfmem_out(tfmem), tfmem_recv(pg_catalog.internal), tfmem_send(tfmem) TO PUBLIC;
