"""Types, tables and functions of the caller's own that bear the names of the server's."""

from __future__ import annotations

from tests.hostile.case import Case, answers

_TYPES = ("text", "name", "oid", "int4", "int8", "float8", "jsonb", "bytea", "interval", "bool", "regclass", "numeric")

_CALLS = {
    "describing": ("SELECT count(*) FROM trails.describe_columns('base')", 6),
    "filtering": ("SELECT count(*) FROM trails.filtering_phase('base', 'bought', n => 20, k => 3)", 3),
    "predicting": ("SELECT count(*) FROM trails.predict('m', 'hostile.base'::pg_catalog.regclass)", 600),
    "predicting row by row": ("SELECT count(trails.predict_score('m@1', b)) FROM base b", 600),
    "deploying": ("SELECT count(*) FROM trails.deploy('m')", 1),
    "importing": ("SELECT length(trails.import_model('x', trails.export_model('r')))", 3),
}  # fmt: skip

_SHADOWING = "CREATE TEMP TABLE {} (a pg_catalog.int4)"


def _beside(what: str, names: tuple[str, ...]) -> Case:
    statement, count = _CALLS[what]
    preparing = ";".join(_SHADOWING.format(name) for name in names)
    shadows = names[0] if len(names) == 1 else f"{len(names)} types"
    return answers(f"{what} beside {shadows}", statement, [(count,)], preparing=preparing)


TYPES = [_beside(what, names) for what in _CALLS for names in (_TYPES, *((name,) for name in _TYPES))]

# Whoever calls is not to run what somebody else left in the way.
_DOMAINS = """
CREATE FUNCTION pg_temp.raising(pg_catalog.text) RETURNS pg_catalog.bool LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'run as %', current_user; END $$;
CREATE DOMAIN pg_temp.text AS pg_catalog.text CHECK (pg_temp.raising(VALUE));
CREATE DOMAIN pg_temp.name AS pg_catalog.name CHECK (pg_temp.raising(VALUE::pg_catalog.text));
"""

_FUNCTIONS = """
CREATE SCHEMA mine;
CREATE FUNCTION mine.raising(pg_catalog.text, pg_catalog.text) RETURNS pg_catalog.bool LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'run as %', current_user; END $$;
CREATE OPERATOR mine.= (FUNCTION = mine.raising, LEFTARG = pg_catalog.text, RIGHTARG = pg_catalog.text);
CREATE FUNCTION mine.max(pg_catalog.int4) RETURNS pg_catalog.int4 LANGUAGE sql AS 'SELECT 1 / 0';
CREATE FUNCTION mine.format_type(pg_catalog.oid, pg_catalog.int4) RETURNS pg_catalog.text LANGUAGE sql AS
    'SELECT (1 / 0)::pg_catalog.text';
SET LOCAL search_path = mine, pg_catalog, hostile;
"""

_TABLES = ";".join(
    _SHADOWING.format(name) for name in ("models", "runs", "model_grants", "pg_class", "pg_attribute", "pg_namespace")
)

_WAYS = {"domains that run code": _DOMAINS, "operators and functions": _FUNCTIONS, "the registry's tables": _TABLES}

WAYS = [
    answers(f"{what} beside {way}", statement, [(count,)], preparing=preparing)
    for way, preparing in _WAYS.items()
    for what, (statement, count) in _CALLS.items()
]

CASES = TYPES + WAYS
