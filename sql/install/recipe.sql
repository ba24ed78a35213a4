-- What repeats a run.

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
