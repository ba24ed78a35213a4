-- Columns that hold no pictures, or pictures that nobody would draw.

-- # cells scored on the columns of a table
-- right: 22023, says "no column of pictures", hints at "bytea"
SELECT * FROM trails.filtering_phase('base', 'bought', space => 'nasbench201', n => 2);

-- # cells trained on the columns of a table
-- right: 22023, says "not for the columns of a table", hints at "trails.bench.open"
SELECT * FROM trails.model_selection('base', 'bought', '20 s', space => 'nasbench101');

-- # a PNG of 9,000 x 9,000 pixels in some bytes
-- right: 22000, says "has 9000 pixels a side", hints
CREATE VIEW bombs AS SELECT bought, '\x89504e470d0a1a0a0000000d4948445200002328000023280802000000e2b7e5ed0000000c49444154789c6360a03d00000064000186643c350000000049454e44ae426082'::bytea AS image FROM base;
-- then
SELECT * FROM trails.filtering_phase('bombs', 'bought', space => 'nasbench201', n => 2);

-- # a PNG of 60,000 x 60,000 pixels in some bytes
-- right: 22000, says "3600000000 pixels", hints
CREATE VIEW bombs AS SELECT bought, '\x89504e470d0a1a0a0000000d494844520000ea600000ea6008020000000fb0e2150000000c49444154789c6360a03d00000064000186643c350000000049454e44ae426082'::bytea AS image FROM base;
-- then
SELECT * FROM trails.filtering_phase('bombs', 'bought', space => 'nasbench201', n => 2);

-- # the beginning of a PNG and nothing behind it
-- right: 22000, says "cannot be decoded", hints
CREATE VIEW beginnings AS SELECT bought, '\x89504e470d0a1a0a'::bytea || decode(md5(id::text), 'hex') AS image FROM base;
-- then
SELECT * FROM trails.filtering_phase('beginnings', 'bought', space => 'nasbench201', n => 2);

-- # pictures of 100 MB
-- right: 54000, says "100.0 MB", hints
CREATE VIEW large AS SELECT bought, decode(repeat('00', 104857600), 'hex') AS image FROM base LIMIT 2;
-- then
SELECT * FROM trails.filtering_phase('large', 'bought', space => 'nasbench201', n => 2);

-- # pictures of no bytes
-- right: 22000, says "0 bytes", hints
CREATE VIEW nothing AS SELECT bought, ''::bytea AS image FROM base;
-- then
SELECT * FROM trails.filtering_phase('nothing', 'bought', space => 'nasbench201', n => 2);

-- # arrays of arrays of arrays of pictures
-- right: 22000, says "not square", hints
CREATE VIEW deep AS SELECT bought, array_fill(id % 256, '{2,3,2,2,2,2}') AS image FROM base;
-- then
SELECT * FROM trails.filtering_phase('deep', 'bought', space => 'nasbench201', n => 2);

-- # pictures that are all alike
-- right: 22000, says "too few pictures", hints
CREATE VIEW alike AS SELECT bought, array_fill(7, '{3,8,8}') AS image FROM base;
-- then
SELECT * FROM trails.filtering_phase('alike', 'bought', space => 'nasbench201', tfmem => 'jacob_cov', n => 2);

-- # a picture whose function raises an error
-- right: 22012
CREATE VIEW raising AS SELECT bought, array_fill(1 / (id - 300), '{3,8,8}') AS image FROM base;
-- then
SELECT * FROM trails.filtering_phase('raising', 'bought', space => 'nasbench201', n => 2);

-- # the picture as its own class
-- right: 42804, says "bytea", hints
CREATE VIEW own AS SELECT decode(repeat(md5(id::text), 12), 'hex') AS image FROM base;
-- then
SELECT * FROM trails.filtering_phase('own', 'image', space => 'nasbench201', n => 2);

-- # a secret picture
-- right: 42501, as hostile_bob
CREATE TABLE private_pictures AS SELECT bought, decode(repeat(md5(id::text), 12), 'hex') AS image FROM base;
GRANT SELECT (bought) ON private_pictures TO hostile_bob;
-- then
SELECT * FROM trails.filtering_phase('private_pictures', 'bought', space => 'nasbench201', n => 2);

-- # a budget without end
-- right: 22023 or 22007, hints
SELECT * FROM trails.filtering_phase('base', 'bought', space => 'nasbench201', budget => 'infinity');

-- # a budget for what has none
-- right: 22023, says "without a budget", hints at "n"
SELECT * FROM trails.filtering_phase('base', 'bought', budget => '10 s');
