-- Views and functions with which sessions watch and end each other's runs.

-- # nothing runs
-- right: success, in READ ONLY
-- rows: []
SELECT * FROM trails.progress;

-- # no epochs of anything
-- right: success, in READ ONLY
-- rows: []
SELECT * FROM trails.live_trials;

-- # a run that is not there
-- right: 42704, says "9223372036854775807", hints at "trails.progress"
SELECT trails.stop(9223372036854775807);

-- # a run of a negative number
-- right: 42704, says "-9223372036854775808", hints at "trails.progress"
SELECT trails.cancel(-9223372036854775808);

-- # what runs cannot be made up
-- right: 55000 or 42501
INSERT INTO trails.progress (run_id, source) VALUES (1, 'base');

-- # a run without a number is nobody's to end
-- right: 22023, says "run"
SELECT trails.stop(run_id) FROM trails.progress RIGHT JOIN (SELECT 1) one ON true;
