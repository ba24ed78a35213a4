"""Types, functions and operators of a caller's own that lie before pg_catalog's, for statements that forget a schema.

`python -m pytest --shadows tests/sql` runs every test beside them: `connect` prepares each new session with `lay`.
Statements of the tests themselves work as ever, because each shadow does what its namesake does. It is an error
(SQLSTATE `P0S01`) only when a statement of Trails', told by the call stack, comes to use one. `lay_tables` is the short
way of breaking such a statement, and what a user does by accident: `CREATE TEMP TABLE text (a int)`.
"""

from __future__ import annotations

from typing import Any

import psycopg2

from tests.sql.tables import query

TYPES = ("text", "name", "oid", "int4", "int8", "float8", "jsonb", "bytea", "interval")
SEARCH_PATH = "public, mine, pg_catalog"  # what tests create is in public, as ever

# The stack names the statement that a shadow is used by: Trails' own name pg_catalog or a table of trails; those of a
# test's functions and views do not.
_SEEN = r"""
CREATE SCHEMA mine;
GRANT USAGE ON SCHEMA mine TO PUBLIC;
CREATE FUNCTION mine.seen(what pg_catalog.text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    stack text;
BEGIN
    GET DIAGNOSTICS stack = PG_CONTEXT;
    IF stack ~ '(SQL (statement|expression) "[^"]*\m(pg_catalog\.|trails\.\w+\M(?!\())|PL/pgSQL function trails\.)' THEN
        RAISE EXCEPTION 'shadow % was used as %', what, current_user USING ERRCODE = 'P0S01', DETAIL = stack;
    END IF;
    RETURN true;
END $$;
"""

# Name, arguments, result, and what the namesake is called.
_FUNCTIONS = (
    ("to_regclass", ("text",), "regclass"),
    ("format_type", ("oid", "int4"), "text"),
    ("sha256", ("bytea",), "bytea"),
    ("length", ("text",), "int4"),
    ("quote_ident", ("text",), "text"),
    ("hashtextextended", ("text", "int8"), "int8"),
    ("pg_advisory_xact_lock", ("int8",), "void"),
    ("clock_timestamp", (), "timestamptz"),
    ("regexp_replace", ("text", "text", "text"), "text"),
    ("cardinality", ("anyarray",), "int4"),
    ("unnest", ("anyarray",), "SETOF anyelement"),
)
_OPERATORS = (
    ("=", "text", "boolean", "texteq"),
    ("<>", "text", "boolean", "textne"),
    ("=", "name", "boolean", "nameeq"),
    ("=", "int4", "boolean", "int4eq"),
    ("=", "int8", "boolean", "int8eq"),
    ("=", "oid", "boolean", "oideq"),
    (">", "int4", "boolean", "int4gt"),
    ("<=", "int4", "boolean", "int4le"),
    ("+", "int4", "int4", "int4pl"),
    ("||", "text", "text", "textcat"),
)


def _qualified(type_name: str) -> str:
    setof, _, bare = type_name.rpartition(" ")
    return f"{setof} {'' if bare == 'boolean' else 'pg_catalog.'}{bare}"


def _function(name: str, arguments: tuple[str, ...], result: str, namesake: str) -> str:
    values = ", ".join(f"${place}" for place in range(1, len(arguments) + 1))
    call = f"pg_catalog.{namesake}({values})"
    many = result.startswith("SETOF")
    body = f"RETURN QUERY SELECT {call}" if many else f"PERFORM {call}" if result == "void" else f"RETURN {call}"
    return (
        f"CREATE FUNCTION mine.{name}({', '.join(_qualified(a) for a in arguments)}) RETURNS {_qualified(result)} "
        f"LANGUAGE plpgsql AS $$ BEGIN PERFORM mine.seen('{name}'); {body}; END $$;"
    )


def _schema() -> str:
    made = [_SEEN]
    made += [_function(name, arguments, result, name) for name, arguments, result in _FUNCTIONS]
    for operator, operand, result, namesake in _OPERATORS:
        made.append(_function(f"{namesake}_", (operand, operand), result, namesake))
        made.append(
            f"CREATE OPERATOR mine.{operator} (FUNCTION = mine.{namesake}_, "
            f"LEFTARG = pg_catalog.{operand}, RIGHTARG = pg_catalog.{operand});"
        )
    return "\n".join(made)


def lay_schema(superuser: Any) -> None:
    """Makes the schema `mine` with its functions and operators, unless the database has one."""
    if query(superuser, "SELECT pg_catalog.to_regnamespace('mine') IS NULL") == [(True,)]:
        query(superuser, _schema())


def lay(connection: Any) -> None:
    """Shadows for the rest of a session: a temporary domain over every type, and `mine` before pg_catalog.

    `lay_schema` comes first. A session that may not write keeps pg_catalog's types and has `mine` only.
    """
    try:
        for name in TYPES:
            query(connection, f"CREATE DOMAIN pg_temp.{name} AS pg_catalog.{name} CHECK (mine.seen('{name}'))")
    except psycopg2.errors.ReadOnlySqlTransaction:
        pass
    query(connection, f"SET search_path = {SEARCH_PATH}")


def lay_tables(connection: Any) -> None:
    """Temporary tables whose row types are called as the types that statements cast to."""
    for name in TYPES:
        query(connection, f"CREATE TEMP TABLE {name} (a integer)")
