-- Arguments that no function can use: numbers out of range, names that are not there, texts of any length.

-- # a budget of nothing
-- right: 53400 or 22023, hints
SELECT * FROM trails.model_selection('base', 'bought', '0');

-- # a negative budget
-- right: 53400 or 22023, hints
SELECT * FROM trails.model_selection('base', 'bought', '-5 s');

-- # a budget of NULL
-- right: 22023, says "budget"
SELECT * FROM trails.model_selection('base', 'bought', NULL);

-- # a budget that starting alone takes
-- right: 53400, says "1 s", hints at "budget"
SELECT * FROM trails.model_selection('base', 'bought', '1 s');

-- # a budget in microseconds
-- right: 53400, hints at "budget"
SELECT * FROM trails.model_selection('base', 'bought', '1999999 us');

-- # a budget without end
-- right: 22023 or 22007, hints
SELECT * FROM trails.model_selection('base', 'bought', 'infinity');

-- # a budget that ends before it begins
-- right: 53400 or 22023 or 22007, hints
SELECT * FROM trails.model_selection('base', 'bought', '-infinity');

-- # a budget of 178,000,000 years
-- right: 22023, hints
SELECT * FROM trails.model_selection('base', 'bought', '178000000 years');

-- # a negative budget of 178,000,000 years
-- right: 53400 or 22023, hints
SELECT * FROM trails.model_selection('base', 'bought', '-178000000 years');

-- # a budget that is no interval
-- right: 22007
SELECT * FROM trails.model_selection('base', 'bought', 'soon');

-- # a budget of nothing for named architectures
-- right: 53400 or 22023, hints
SELECT * FROM trails.refinement_phase('base', 'bought', '{64-64-64-64}', budget => '0');

-- # an endless budget for named ones
-- right: 22023 or 22007, hints
SELECT * FROM trails.refinement_phase('base', 'bought', '{64-64-64-64}', 1, 'infinity');

-- # a resumed run's budget of nothing
-- right: 53400 or 22023 or 42704, hints
SELECT * FROM trails.resume(1, '0');

-- # a resumed run's budget of less than nothing
-- right: 53400 or 22023 or 42704, hints
SELECT * FROM trails.resume(1, '-1 s');

-- # an endless budget to split
-- right: 22023 or 22007, hints
SELECT * FROM trails.coordinator(0.1, 1, 'infinity');

-- # no budget to split
-- right: 53400 or 22023, hints
SELECT * FROM trails.coordinator(0.1, 1, '0');

-- # no architecture
-- right: 22023, says "n", hints
SELECT count(*) FROM trails.filtering_phase('base', 'bought', n => 0);

-- # a negative number of architectures
-- right: 22023, says "n", hints
SELECT count(*) FROM trails.filtering_phase('base', 'bought', n => -1);

-- # more architectures than the space has
-- right: 22023, says "n", hints
SELECT count(*) FROM trails.filtering_phase('base', 'bought', n => 2147483647);

-- # nothing to return
-- right: 22023, says "k", hints
SELECT count(*) FROM trails.filtering_phase('base', 'bought', n => 5, k => 0);

-- # more to return than were scored
-- right: 22023, hints at "n"
SELECT count(*) FROM trails.filtering_phase('base', 'bought', n => 5, k => 10);

-- # one architecture
-- right: success
-- rows: [(1,)]
SELECT count(*) FROM trails.filtering_phase('base', 'bought', n => 1, k => 1);

-- # the whole of the smallest space
-- right: success
-- rows: [(100,)]
SELECT count(*) FROM trails.filtering_phase('base', 'bought', n => 100, k => 100, space => 'mlp2x10');

-- # a batch of no rows
-- right: 22023, says "batch_size"
SELECT count(*) FROM trails.filtering_phase('base', 'bought', n => 5, tfmem => 'snip', batch_size => 0);

-- # a negative batch
-- right: 22023
SELECT count(*) FROM trails.filtering_phase('base', 'bought', n => 5, tfmem => 'snip', batch_size => -1);

-- # a batch that is too large
-- right: 22023, hints
SELECT count(*) FROM trails.filtering_phase('base', 'bought', n => 5, tfmem => 'snip', batch_size => 5000);

-- # the smallest seed
-- right: success
-- rows: [(5,)]
SELECT count(*) FROM trails.filtering_phase('base', 'bought', n => 5, seed => -9223372036854775808);

-- # the largest seed
-- right: success
-- rows: [(5,)]
SELECT count(*) FROM trails.filtering_phase('base', 'bought', n => 5, seed => 9223372036854775807);

-- # no candidate
-- right: 22023, says "k"
SELECT * FROM trails.model_selection('base', 'bought', k => 0);

-- # no epoch
-- right: 22023, says "u"
SELECT * FROM trails.model_selection('base', 'bought', u => 0);

-- # a negative epoch
-- right: 22023, says "u"
SELECT * FROM trails.refinement_phase('base', 'bought', '{64-64-64-64}', u => -1);

-- # more candidates than were scored
-- right: 22023, hints
SELECT * FROM trails.model_selection('base', 'bought', n => 2, k => 3);

-- # as many candidates as there are numbers
-- right: 22023, hints
SELECT * FROM trails.model_selection('base', 'bought', k => 2147483647);

-- # a workload of nothing
-- right: 22023
SELECT * FROM trails.model_selection_workloads('base', 'bought', 0, 0);

-- # a workload without numbers
-- right: 22023, says "n"
SELECT * FROM trails.model_selection_workloads('base', 'bought', NULL, NULL);

-- # epochs of no time
-- right: 22023
SELECT * FROM trails.coordinator(0.1, 0, '10 s');

-- # scores of negative time
-- right: 22023
SELECT * FROM trails.coordinator(-1, 1, '10 s');

-- # scores of no number
-- right: 22023
SELECT * FROM trails.coordinator('NaN', 1, '10 s');

-- # epochs without end
-- right: 22023 or 53400
SELECT * FROM trails.coordinator(0.1, 'Infinity', '10 s');

-- # no architecture to time
-- right: 22023, says "n"
SELECT * FROM trails.benchmark_filtering_latency_in_db(0, 'base');

-- # fewer than none to time
-- right: 22023, says "n"
SELECT * FROM trails.benchmark_filtering_latency_in_db(-2147483648, 'base');

-- # batches of nothing to time
-- right: 22023, says "batch_size"
SELECT * FROM trails.benchmark_filtering_latency_in_db(1, 'base', 0);

-- # predictions timed never
-- right: 22023, says "repeats"
SELECT * FROM trails.profile_prediction('m', 'base', 0);

-- # reading timed never
-- right: 22023, says "repeats"
SELECT * FROM trails.benchmark_reading('base', 0);

-- # reading timed fewer times than never
-- right: 22023
SELECT * FROM trails.benchmark_reading('base', -1);

-- # a metric that is spelt wrongly
-- right: 22023, says "synflo", hints at "synflow"
SELECT count(*) FROM trails.filtering_phase('base', 'bought', tfmem => 'synflo');

-- # a metric without a name
-- right: 22023, hints
SELECT count(*) FROM trails.filtering_phase('base', 'bought', tfmem => '');

-- # no metric
-- right: 22023, hints
SELECT count(*) FROM trails.filtering_phase('base', 'bought', tfmem => ARRAY[]::text[]);

-- # a metric of NULL
-- right: 22023
SELECT count(*) FROM trails.filtering_phase('base', 'bought', tfmem => NULL);

-- # a metric and a NULL
-- right: 22023 or 22004
SELECT count(*) FROM trails.filtering_phase('base', 'bought', tfmem => ARRAY['synflow', NULL]);

-- # a metric named twice
-- right: 22023 or success, hints
SELECT count(*) FROM trails.filtering_phase('base', 'bought', tfmem => ARRAY['synflow', 'synflow'], n => 5);

-- # a metric and nothing
-- right: 22023, hints
SELECT count(*) FROM trails.filtering_phase('base', 'bought', tfmem => 'synflow+');

-- # a metric of 10 MB
-- right: 22023, hints
SELECT count(*) FROM trails.filtering_phase('base', 'bought', tfmem => repeat('x', 10000000)::trails.tfmem);

-- # a metric that needs labels and gets none
-- right: 22023, says "snip", hints
SELECT * FROM trails.filtering_phase('base', tfmem => 'snip');

-- # a space that is not there
-- right: 22023, says "mlp9x20", hints
SELECT count(*) FROM trails.filtering_phase('base', 'bought', space => 'mlp9x20');

-- # a space without a name
-- right: 22023, hints
SELECT count(*) FROM trails.filtering_phase('base', 'bought', space => '');

-- # a space with letters for digits
-- right: 22023, hints
SELECT count(*) FROM trails.filtering_phase('base', 'bought', space => 'mlp٤x20');

-- # a space of 10 MB
-- right: 22023, hints
SELECT count(*) FROM trails.filtering_phase('base', 'bought', space => repeat('mlp4x20', 1500000));

-- # a sampler that is not there
-- right: 22023, says "guess", hints
SELECT count(*) FROM trails.filtering_phase('base', 'bought', n => 5, sampler => 'guess');

-- # a scheduler that is not there
-- right: 22023, says "asha", hints
SELECT * FROM trails.model_selection('base', 'bought', refinement => 'asha');

-- # a task that is not there
-- right: 22023, says "classification", hints
SELECT * FROM trails.model_selection('base', 'bought', task => 'classification');

-- # a task of 10 MB
-- right: 22023, hints
SELECT * FROM trails.model_selection('base', 'bought', task => repeat('binary', 1600000));

-- # a way of reading that is not there
-- right: 22023, hints
SELECT * FROM trails.benchmark_reading('base', 1, 'fast');

-- # an architecture that is none
-- right: 22023, says "abc", hints
SELECT * FROM trails.refinement_phase('base', 'bought', ARRAY['abc']);

-- # an architecture of NULL
-- right: 22023, says "architectures"
SELECT * FROM trails.refinement_phase('base', 'bought', ARRAY['64-64-64-64', NULL]);

-- # no architecture at all
-- right: 22023
SELECT * FROM trails.refinement_phase('base', 'bought', ARRAY[]::text[]);

-- # too few layers
-- right: 22023, says "64-64", hints
SELECT * FROM trails.refinement_phase('base', 'bought', ARRAY['64-64']);

-- # widths of another space
-- right: 22023, says "63", hints
SELECT * FROM trails.refinement_phase('base', 'bought', ARRAY['63-64-64-64']);

-- # negative widths
-- right: 22023, hints
SELECT * FROM trails.refinement_phase('base', 'bought', ARRAY['-64-64-64-64']);

-- # a width of 400 digits
-- right: 22023, hints
SELECT * FROM trails.refinement_phase('base', 'bought', ARRAY[repeat('9', 400) || '-64-64-64']);

-- # a width of 200,000 digits
-- right: 22023, hints
SELECT * FROM trails.refinement_phase('base', 'bought', ARRAY[repeat('9', 200000) || '-64-64-64']);

-- # an architecture named twice
-- right: 22023, says "64-64-64-64"
SELECT * FROM trails.refinement_phase('base', 'bought', ARRAY['64-64-64-64', '64-64-64-64']);

-- # an architecture of 10 MB
-- right: 22023, hints
SELECT * FROM trails.refinement_phase('base', 'bought', ARRAY[repeat('64-', 3333333) || '64']);

-- # 60,000 times the same architecture
-- right: 22023
SELECT * FROM trails.refinement_phase('base', 'bought', (SELECT array_agg('64-64-64-64'::text) FROM
    generate_series(1, 60000)));

-- # a device that is not there
-- right: 22023, says "tpu", hints
SET LOCAL trails.device = 'tpu'
-- then
SELECT * FROM trails.model_selection('base', 'bought');

-- # a dataset without a name
-- right: 42P01, hints
SELECT * FROM trails.benchmark_filtering_latency_in_db(1, '');

-- # a dataset that is not there
-- right: 42P01, says "no_such", hints
SELECT * FROM trails.benchmark_filtering_latency_in_db(1, 'no_such');

-- # a dataset with quotes
-- right: 42P01, hints
SELECT * FROM trails.benchmark_filtering_latency_in_db(1, 'a".b;
SELECT');

-- # a dataset of 1 MB
-- right: 42P01 or 42622, hints
SELECT * FROM trails.benchmark_filtering_latency_in_db(1, repeat('x', 1000000));

-- # a configuration that is not there
-- right: 58P01
SELECT * FROM trails.benchmark_filtering_latency_in_db(1, 'base', 8, '/no/such.ini');

-- # a directory for a configuration
-- right: 58P01 or 42809
SELECT * FROM trails.benchmark_filtering_latency_in_db(1, 'base', 8, '/');

-- # a model's name that is empty
-- right: 22023, hints
SELECT * FROM trails.model_selection('base', 'bought', name => '');

-- # a model's name that is a version
-- right: 22023, hints
SELECT * FROM trails.model_selection('base', 'bought', name => 'a@1');

-- # a model's name with a role in it
-- right: 22023, hints
SELECT * FROM trails.model_selection('base', 'bought', name => 'hostile_bob/m');

-- # a model's name of 201 characters
-- right: 22023, hints
SELECT * FROM trails.model_selection('base', 'bought', name => repeat('é', 201));

-- # a model's name of 10 MB
-- right: 22023, hints
SELECT * FROM trails.model_selection('base', 'bought', name => repeat('x', 10000000));

-- # a run that is not there
-- right: 42704, says "-1", hints
SELECT * FROM trails.leaderboard(-1);

-- # a run of NULL
-- right: 42704 or 22023
SELECT * FROM trails.leaderboard(NULL);

-- # the recipe of a run that is not there
-- right: 42704, says "-1", hints
SELECT trails.recipe(-1);

-- # the recipe of a run of NULL
-- right: 42704 or 22023
SELECT trails.recipe(NULL);

-- # groups and times at once
-- right: 22023, says "group_by and time_by", hints
SELECT * FROM trails.model_selection('base', 'bought', '6 s', group_by => 'hour', time_by => 'hour');

-- # a group that is not there
-- right: 42703, says "nowhere", hints
SELECT * FROM trails.model_selection('base', 'bought', '6 s', group_by => 'nowhere');

-- # the target as weight
-- right: 22023, says "target"
SELECT * FROM trails.model_selection('base', 'bought', '6 s', weight => 'bought');

-- # a metric of 10 MB to compare candidates by
-- right: 22023, hints
SELECT * FROM trails.model_selection('base', 'bought', '6 s', metric => repeat('x', 10000000));

-- # a resumed run that is not there
-- right: 42704, says "99999999", hints
SELECT * FROM trails.resume(99999999, '6 s');

-- # metrics all have a direction
-- right: success
-- rows: [(True,)]
SELECT bool_and(orientation IN ('higher', 'lower')) FROM trails.tfmems();

-- # a target that is spelt wrongly
-- right: 42703, hints at "bought"
SELECT * FROM trails.model_selection('base', 'bougth');

-- # a target with a capital
-- right: 42703, hints at "bought"
SELECT * FROM trails.filtering_phase('base', 'Bought');

-- # a system column as target
-- right: 42703, hints
SELECT * FROM trails.filtering_phase('base', 'ctid');

-- # no target
-- right: 22023, says "target"
SELECT * FROM trails.model_selection('base', NULL);

-- # no feature
-- right: 22023, hints
SELECT count(*) FROM trails.filtering_phase('base', 'bought', features => '{}');

-- # the target among the features
-- right: 22023, says "bought", hints
SELECT count(*) FROM trails.filtering_phase('base', 'bought', features => '{colour,bought}');

-- # a feature named twice
-- right: 22023, says "colour"
SELECT count(*) FROM trails.filtering_phase('base', 'bought', features => '{colour,colour,hour}');

-- # a feature of NULL
-- right: 22023, says "NULL"
SELECT count(*) FROM trails.filtering_phase('base', 'bought', features => '{colour,NULL}');

-- # nothing but features of NULL
-- right: 22023
SELECT count(*) FROM trails.filtering_phase('base', 'bought', features => '{NULL,NULL}');

-- # a feature with a capital
-- right: 42703, says "Colour", hints at "colour"
SELECT count(*) FROM trails.filtering_phase('base', 'bought', features => '{Colour}');

-- # a feature without a name
-- right: 42703, hints
SELECT count(*) FROM trails.filtering_phase('base', 'bought', features => ARRAY['']::name[]);

-- # 1,001 features
-- right: 54011 or 42703, hints
SELECT count(*) FROM trails.filtering_phase('base', 'bought', features => (SELECT array_agg('f' || i) FROM
    generate_series(1, 1001) i)::name[]);

-- # a split that is not there
-- right: 42703, says "part", hints
SELECT * FROM trails.model_selection('base', 'bought', split => 'part');

-- # the target as split
-- right: 22023
SELECT * FROM trails.model_selection('base', 'bought', split => 'bought');

-- # a split and a validation table
-- right: 22023, hints
SELECT * FROM trails.model_selection('base', 'bought', split => 'hour', validation => 'by_name');

-- # columns that are not there described
-- right: 42703, hints at "colour"
SELECT * FROM trails.describe_columns('base', '{nothing}');
