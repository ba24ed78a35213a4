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
-- No role may have what it likes taken for a run's model.
GRANT SELECT, DELETE ON unregistered_models TO trails_user;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA trails FROM PUBLIC;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA trails TO trails_user;
-- Weights from elsewhere are for those to bring in who answer for them.
REVOKE EXECUTE ON FUNCTION import_model(text, bytea, regclass, boolean) FROM trails_user;
-- The type trails.tfmem must be readable by whoever has been granted it.
GRANT EXECUTE ON FUNCTION tfmem_in(cstring), tfmem_out(tfmem), tfmem_recv(internal), tfmem_send(tfmem) TO PUBLIC;
