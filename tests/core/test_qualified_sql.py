"""No statement of the extension's own resolves a type, function, operator or relation by the caller's search path.

Temporary types come before all others in any search path that does not list pg_temp, and a schema before pg_catalog
can hold functions and operators of any name: what is written without its schema may be somebody else's code, run as
the caller. This reads every SQL string of the crate and every script, and tells each place where a name is looked up.

The body of a function with ``SET search_path = pg_catalog, pg_temp`` is passed over: listed last, pg_temp shadows
nothing (tests/sql/test_shadows.py shows that).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# A released script is never edited. That one was released before this rule; PostgreSQL runs it with pg_catalog first in
# the search path and pg_temp last, and the next script refuses a schema in which others may create.
RELEASED = {"trails--0.1.0--0.2.0.sql"}
SCRIPTS = sorted(
    path
    for path in [*ROOT.glob("sql/install/*.sql"), *ROOT.glob("pg_extension/sql/*.sql")]
    if path.name not in RELEASED
)
SOURCES = sorted(ROOT.glob("pg_extension/src/**/*.rs"))


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text))


# Spelt by the grammar, which means pg_catalog's: no search path is asked.
GRAMMAR_TYPES = _words(
    "bigint bit boolean char character dec decimal double float int integer interval numeric real setof smallint time "
    "timestamp varchar"
)
NAMED_TYPES = _words(
    "bool bytea cstring date float4 float8 int2 int4 int8 internal json jsonb name oid record regclass regnamespace "
    "regrole regtype text tid timestamptz timetz uuid void xid"
)
# What may stand before a parenthesis without being a function that is looked up.
NOT_CALLED = _words(
    "all and any array as by cast check coalesce distinct else exists extract filter from greatest group having if in "
    "index is join key lateral least not on operator or order over partition primary references returning returns row "
    "rows select set table then type union unique using values when where with within"
)
# Words of the grammar; whatever else stands before a type's name is the name of what has the type.
KEYWORDS = NOT_CALLED | _words(
    "add alter asc begin case column comment constraint create cross current_user declare default delete desc do drop "
    "end false function grant inner insert into language left limit null offset only outer policy return revoke right "
    "schema session_user to trigger true update view"
)
# What may follow FROM, JOIN and INTO without being a relation.
NO_TABLES = NOT_CALLED | {"public", "strict", "trails_user"}
HIDDEN_OPERATORS = re.compile(
    r"\b(?:in\s*\(|between\b|i?like\b(?!\s*=)|similar\s+to\b|is\s+(?:not\s+)?distinct\s+from\b|nullif\s*\(|natural\s+join\b"
    r"|join\s+\S+(?:\s+\w+)?\s+using\s*\()|\bcase\s+(?!when\b)",
    re.IGNORECASE,
)
TOKEN = re.compile(
    r"""(?P<comment>--[^\n]*|/\*.*?\*/) | (?P<body>\$(?P<tag>\w*)\$.*?\$(?P=tag)\$) | (?P<text>'(?:[^']|'')*')
      | (?P<word>(?:"(?:[^"]|"")*"|[A-Za-z_]\w*)(?:\.(?:"(?:[^"]|"")*"|[A-Za-z_]\w*|\*))*) | (?P<number>\d[\d.]*)
      | (?P<parameter>\$\d+) | (?P<cast>::) | (?P<named>=>|:=) | (?P<operator>[-+*/<>=~!@\#%^&|?]+) | (?P<other>\S)""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class Token:
    kind: str
    text: str
    line: int

    @property
    def word(self) -> str:
        return self.text.lower() if self.kind == "word" else self.text


def tokens(sql: str) -> list[Token]:
    found = []
    for match in TOKEN.finditer(sql):
        kind = match.lastgroup or "other"
        if kind == "tag":
            kind = "body"
        if kind != "comment":
            found.append(Token(kind, match.group(), sql.count("\n", 0, match.start()) + 1))
    return found


def looked_up(sql: str) -> Iterator[tuple[int, str]]:
    """Line and name of everything in a statement or script that is resolved by a search path."""
    listed = tokens(sql)
    fixed_path = False
    assigning = defining = False
    for place, token in enumerate(listed):
        before = listed[place - 1] if place else Token("other", ";", 0)
        earlier = listed[place - 2].word if place > 1 else ""
        after = listed[place + 1].text if place + 1 < len(listed) else ";"
        word = token.word
        if word == ";":
            fixed_path = assigning = defining = False
        elif word == "search_path":
            path = [t.text for t in listed[place + 1 : place + 5]]
            fixed_path = path == ["=", "pg_catalog", ",", "pg_temp"]
        elif word in ("set", "raise"):
            assigning = True
        elif word in ("where", "from", "returning"):
            assigning = False
        elif word == "type" and before.word == "create":
            defining = True
        if token.kind == "body":
            if not fixed_path:
                for line, name in looked_up(token.text.strip("$")):
                    yield token.line + line - 1, name
        elif token.kind == "operator":
            star = word == "*" and before.text in ("(", "select", "SELECT", ",")
            if earlier != "operator" and not star and not (word == "=" and (assigning or defining)):
                within = [t.text for t in listed[max(0, place - 3) : place]]
                # OPERATOR(pg_catalog.=): the schema is a word, the dot stands alone.
                if within[-1:] != ["."]:
                    yield token.line, word
        elif token.kind == "word" and "." not in token.text:
            if before.kind == "cast" or (before.word == "as" and _in_cast(listed, place)):
                if word not in GRAMMAR_TYPES:
                    yield token.line, word
            elif word in NAMED_TYPES and _is_type(word, before):
                yield token.line, word
            elif after == "(" and _is_call(word, before, earlier):
                yield token.line, f"{word}()"
            elif before.word in ("from", "join", "into") and earlier != "distinct" and word not in NO_TABLES:
                yield token.line, word
    bare = re.sub(TOKEN, lambda m: m.group() if m.lastgroup in ("word", "other", "operator") else " x ", sql)
    for match in HIDDEN_OPERATORS.finditer(bare):
        yield bare.count("\n", 0, match.start()) + 1, match.group()


def _in_cast(listed: list[Token], place: int) -> bool:
    depth = 0
    for at in range(place - 1, -1, -1):
        depth += {")": 1, "(": -1}.get(listed[at].text, 0)
        if depth < 0:
            return listed[at - 1].word == "cast" and listed[at - 2].word != "create"
    return False


def _is_type(word: str, before: Token) -> bool:
    """A type's name, and not a column's or an argument's that is called so."""
    if before.kind == "word":
        return before.word in ("returns", "setof") or before.word not in KEYWORDS
    return word != "name" and before.text in ("(", ",")


def _is_call(word: str, before: Token, earlier: str) -> bool:
    if word in NOT_CALLED or word in KEYWORDS or word in GRAMMAR_TYPES:
        return False
    # What is created, dropped, commented on or granted; columns of an index; the columns of an alias.
    return before.word not in ("function", "table", "type", "on", "ordinality", "references", "as", ")") and not (
        before.text == "," and earlier == ")"
    )


def statements(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of every string of a Rust file that is SQL."""
    tests = source.find("#[cfg(test)]")
    code = source[:tests] if tests >= 0 else source
    for match in re.finditer(r'r#"(.*?)"#|(?<!\')c?"((?:[^"\\]|\\.)*)"', code, re.DOTALL):
        text = match[1] if match[1] is not None else re.sub(r"\\\n\s*", "\n", match[2]).replace('\\"', '"')
        statement = re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|SET|WITH|LOCK|DECLARE|EXPLAIN)\b", text)
        if statement and not re.match(r"\s*(SELECT [\w, ]+ FROM [\w.]+ shows|CREATE EXTENSION)", text):
            yield code.count("\n", 0, match.start()) + 1, text


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_name_schemas(script: Path) -> None:
    assert [f"{script.name}:{line} {name}" for line, name in looked_up(script.read_text())] == []


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.relative_to(ROOT / "pg_extension/src").as_posix())
def test_statements_of_the_crate_name_schemas(source: Path) -> None:
    found = [
        f"{source.name}:{first + line - 1} {name}"
        for first, statement in statements(source.read_text())
        for line, name in looked_up(statement)
    ]
    assert found == []


def test_the_crate_has_statements_to_look_at() -> None:
    assert sum(1 for source in SOURCES for _ in statements(source.read_text())) > 30


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        ("SELECT a::text FROM trails.runs WHERE b OPERATOR(pg_catalog.=) $1", ["text"]),
        ("SELECT CAST(a AS name), b::integer[] FROM pg_catalog.pg_class", ["name"]),
        ("SELECT pg_catalog.max(a) + 1 FROM trails.runs", ["+"]),
        ("SELECT max(a), COALESCE(a, b) FROM runs", ["max()", "runs"]),
        ("SELECT a FROM trails.runs WHERE a IN ($1, $2) AND b BETWEEN $1 AND $2", ["in (", "between"]),
        ("SELECT a FROM trails.runs JOIN trails.trials USING (run_id)", ["join trails.trials using ("]),
        ("SELECT CASE a WHEN $1 THEN b END, a IS DISTINCT FROM b FROM trails.runs", ["is distinct from", "case "]),
        ("UPDATE trails.models SET state = $1, a = b WHERE c = $2", ["="]),
        ("CREATE FUNCTION f(model text, n integer) RETURNS jsonb", ["text", "jsonb"]),
        ("CREATE TABLE t (owner name DEFAULT current_user, UNIQUE (owner, name))", ["name"]),
        ("DROP FUNCTION f(regclass, pg_catalog.text)", ["regclass"]),
        ("DO $$ BEGIN PERFORM now(); END $$;", ["now()"]),
        ("CREATE FUNCTION f() SET search_path = pg_catalog, pg_temp AS $$ SELECT now()::text $$;", []),
        ("CREATE FUNCTION f() SET search_path = trails AS $$ SELECT now()::text $$;", ["text", "now()"]),
        ("SELECT 'a::text' -- b::text\n, $1::pg_catalog.text[] FROM pg_catalog.unnest($2) t (a, b)", []),
    ],
)
def test_what_is_looked_up_is_found(sql: str, names: list[str]) -> None:
    assert sorted(name.lower() for _, name in looked_up(sql)) == sorted(names)
