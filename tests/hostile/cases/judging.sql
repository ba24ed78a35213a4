-- Models that are judged and explained on rows that they cannot be.

-- # a source without the target
-- right: 42703, says "y", hints at "target =>"
SELECT * FROM trails.evaluate('m', 'base');

-- # a target of another type
-- right: 42804, says "bought", hints at "CAST"
SELECT * FROM trails.evaluate('m', 'base', 'bought');

-- # a target of other classes
-- right: 22000, says "colour", hints at "view"
SELECT * FROM trails.evaluate('m', 'base', 'colour');

-- # a target that is infinite
-- right: 22003, says "y"
CREATE VIEW endless AS SELECT *, CASE WHEN id = 7 THEN 'Infinity'::float8 ELSE id END AS y FROM base;
-- then
SELECT * FROM trails.evaluate('r', 'endless');

-- # targets that are no numbers are left out
-- right: success, tells "200 rows have no target"
-- rows: [('rmse', 400)]
CREATE VIEW odd AS SELECT *, CASE WHEN id % 3 = 0 THEN 'NaN'::float8 ELSE id END AS y FROM base;
-- then
SELECT metric, rows FROM trails.evaluate('r', 'odd') WHERE metric = 'rmse';

-- # a weight that is a text
-- right: 42804, says "colour"
CREATE VIEW labelled AS SELECT *, CASE WHEN bought THEN 'yes' ELSE 'no' END AS y FROM base;
-- then
SELECT * FROM trails.evaluate('m', 'labelled', weight => 'colour');

-- # weights that are all nothing
-- right: success
-- rows: [(None,)]
CREATE VIEW labelled AS SELECT *, CASE WHEN bought THEN 'yes' ELSE 'no' END AS y, 0 AS w FROM base;
-- then
SELECT max(value) FROM trails.evaluate('m', 'labelled', weight => 'w');

-- # a confusion matrix of numbers
-- right: 22023, says "number", hints at "evaluate"
CREATE VIEW labelled AS SELECT *, id AS y FROM base;
-- then
SELECT * FROM trails.confusion_matrix('r', 'labelled');

-- # a curve of one class
-- right: 22000, says "one class", hints
CREATE VIEW labelled AS SELECT *, 'yes' AS y FROM base;
-- then
SELECT * FROM trails.threshold_curve('m', 'labelled');

-- # more points than there are rows
-- right: success
CREATE VIEW labelled AS SELECT *, CASE WHEN bought THEN 'yes' ELSE 'no' END AS y FROM base;
-- then
SELECT * FROM trails.threshold_curve('m', 'labelled', points => 2147483647);

-- # a threshold for several classes
-- right: 22023, says "two classes"
SELECT trails.deploy('c', threshold => 0.5);

-- # a threshold that is no number
-- right: 22023, says "NaN", hints at "best_threshold"
SELECT trails.deploy('m', threshold => 'NaN');

-- # a threshold in a read-only transaction
-- right: 25006, in READ ONLY
SELECT trails.deploy('m', threshold => 0.5);

-- # explaining in a read-only transaction
-- right: success, in READ ONLY
SELECT * FROM trails.explain('m', 'base', keys => '{1}');

-- # explaining with a model that was not granted
-- right: 42704, as hostile_bob
SELECT * FROM trails.explain('postgres/m', 'secrets');

-- # explaining a row that is not there
-- right: success
-- rows: [(0,)]
SELECT count(*) FROM trails.explain('m', 'base', keys => ARRAY['-1', '', 'x' || repeat('y', 100000)]);

-- # a column that the model does not read
-- right: 42703, says "bought", hints at "colour"
SELECT * FROM trails.partial_dependence('m', 'base', 'bought');

-- # importance without time
-- right: 22023, says "budget"
SELECT * FROM trails.feature_importance('m', 'base', 'bought', budget => '-1 s');

-- # importance of an endless budget
-- right: 22023, says "365 days"
SELECT * FROM trails.feature_importance('m', 'base', 'bought', budget => '400 days');

-- # more rows than there are
-- right: success
-- rows: [(600,)]
SELECT sum(rows)::int FROM trails.partial_dependence('m', 'base', 'colour', sample_rows => 1000000);
