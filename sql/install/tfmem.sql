-- The type of an argument that names one training-free metric or several. It is text under another name: 'naswot' or
-- 'naswot+synflow'. A type of its own lets one function take 'naswot' as well as ARRAY['naswot', 'synflow'].

CREATE TYPE tfmem;

CREATE FUNCTION tfmem_in(cstring) RETURNS tfmem LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'textin';
CREATE FUNCTION tfmem_out(tfmem) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'textout';
CREATE FUNCTION tfmem_recv(internal) RETURNS tfmem LANGUAGE internal STABLE STRICT PARALLEL SAFE AS 'textrecv';
CREATE FUNCTION tfmem_send(tfmem) RETURNS bytea LANGUAGE internal STABLE STRICT PARALLEL SAFE AS 'textsend';

CREATE TYPE tfmem (
    INPUT = tfmem_in, OUTPUT = tfmem_out, RECEIVE = tfmem_recv, SEND = tfmem_send, LIKE = text, CATEGORY = 'S'
);
COMMENT ON TYPE tfmem IS
    'one metric of trails.tfmems(), or several joined by +; texts and arrays of texts are taken as one';

CREATE CAST (text AS tfmem) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (varchar AS tfmem) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (tfmem AS text) WITHOUT FUNCTION AS IMPLICIT;

-- A NULL element becomes a name that no metric has, so that it is refused and not passed over.
CREATE FUNCTION tfmem_of(names text[]) RETURNS tfmem LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN CAST(pg_catalog.array_to_string(names, '+', 'NULL') AS tfmem);
COMMENT ON FUNCTION tfmem_of IS 'several metrics as one argument: their names joined by +';
CREATE CAST (text[] AS tfmem) WITH FUNCTION tfmem_of(text[]) AS IMPLICIT;
