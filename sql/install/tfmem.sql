-- The type of an argument that names one training-free metric or several. It is text under another name: 'naswot' or
-- 'naswot+synflow'. A type of its own lets one function take 'naswot' as well as ARRAY['naswot', 'synflow'].

CREATE TYPE tfmem;

CREATE FUNCTION tfmem_in(pg_catalog.cstring) RETURNS trails.tfmem LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'textin';
CREATE FUNCTION tfmem_out(tfmem) RETURNS pg_catalog.cstring LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'textout';
CREATE FUNCTION tfmem_recv(pg_catalog.internal) RETURNS trails.tfmem LANGUAGE internal STABLE STRICT PARALLEL SAFE AS 'textrecv';
CREATE FUNCTION tfmem_send(tfmem) RETURNS pg_catalog.bytea LANGUAGE internal STABLE STRICT PARALLEL SAFE AS 'textsend';

CREATE TYPE tfmem (
    INPUT = tfmem_in, OUTPUT = tfmem_out, RECEIVE = tfmem_recv, SEND = tfmem_send, LIKE = pg_catalog.text, CATEGORY = 'S'
);
COMMENT ON TYPE tfmem IS
    'one metric of trails.tfmems(), or several joined by +; texts and arrays of texts are taken as one';

CREATE CAST (pg_catalog.text AS tfmem) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (pg_catalog.varchar AS tfmem) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (tfmem AS pg_catalog.text) WITHOUT FUNCTION AS IMPLICIT;

-- A NULL element becomes a name that no metric has, so that it is refused and not passed over.
CREATE FUNCTION tfmem_of(names pg_catalog.text[]) RETURNS trails.tfmem LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN CAST(pg_catalog.array_to_string(names, '+', 'NULL') AS trails.tfmem);
COMMENT ON FUNCTION tfmem_of IS 'several metrics as one argument: their names joined by +';
CREATE CAST (pg_catalog.text[] AS tfmem) WITH FUNCTION tfmem_of(pg_catalog.text[]) AS IMPLICIT;
