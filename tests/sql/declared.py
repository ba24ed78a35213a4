"""What the sources declare of the SQL functions: CREATE FUNCTION statements, and the Rust functions beneath them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[2]
API = sorted((ROOT / "pg_extension" / "src" / "api").glob("*.rs"))
SCRIPTS = sorted((ROOT / "sql" / "install").glob("*.sql"))

# What volatility and parallel safety are where a statement says nothing of them.
_VOLATILITY = {"IMMUTABLE": "i", "STABLE": "s", "VOLATILE": "v"}
_PARALLEL = {"SAFE": "s", "RESTRICTED": "r", "UNSAFE": "u"}

_CREATE = re.compile(
    r"CREATE FUNCTION (?:trails\.)?(?P<name>\w+)\(\s*(?P<arguments>[^()]*)\)\s*RETURNS\s+"
    r"(?:TABLE\s*\((?P<columns>[^()]*)\)|(?P<result>(?:SETOF )?[\w. \[\]]+?))\s+"
    r"LANGUAGE (?P<language>\w+)(?P<attributes>.*?)(?=\bAS\b|\bBEGIN ATOMIC\b|\bRETURN\b|;)",
    re.DOTALL,
)
_EXTERN = re.compile(
    r'#\[pg_extern\(sql = r#"(?P<sql>(?:(?!"#).)*)"#(?:, requires = \[[^\]]*\])?\)\]\s*(?:#\[[^\]]*\]\s*)*'
    r"fn (?P<name>\w+)\((?P<arguments>[^()]*)\)\s*(?:-> (?P<result>.*?))?\s*\{\n",
    re.DOTALL,
)

# Type in Rust -> types in SQL that pgrx turns into it.
TYPES = {
    "i32": {"integer"},
    "i64": {"bigint"},
    "f64": {"double precision"},
    "bool": {"boolean"},
    "String": {"text", "trails.tfmem"},
    "&str": {"text"},
    "&'static str": {"text"},
    "&CStr": {"name"},
    "&[u8]": {"bytea"},
    "Vec<u8>": {"bytea"},
    "Vec<f64>": {"double precision[]"},
    "Vec<String>": {"text[]"},
    "Array<&str>": {"text[]"},
    "Array<&CStr>": {"name[]"},
    "Array<&std::ffi::CStr>": {"name[]"},
    "pg_sys::Oid": {"regclass"},
    "Interval": {"interval"},
    "AnyElement": {"jsonb"},
    "JsonB": {"jsonb"},
    "()": {"void"},
}


@dataclass(frozen=True)
class Argument:
    """Of a function: name, "" for none; type without pg_catalog; default as an expression."""

    name: str
    type: str
    default: str | None


@dataclass(frozen=True)
class Declared:
    """A function as its CREATE FUNCTION has it; ``result`` is None for a table."""

    name: str
    arguments: tuple[Argument, ...]
    columns: tuple[tuple[str, str], ...]
    result: str | None
    language: str
    volatility: str
    parallel: str
    strict: bool


@dataclass(frozen=True)
class Extern:
    """A Rust function and the SQL function that it is."""

    declared: Declared
    arguments: tuple[tuple[str, str], ...]
    result: str


def functions() -> list[Declared]:
    """All that the sources create, those of language c first."""
    texts = [match["sql"] for path in API for match in _EXTERN.finditer(path.read_text())]
    return [found for text in (*texts, *(path.read_text() for path in SCRIPTS)) for found in declared_in(text)]


def externs() -> list[Extern]:
    """The functions that are written in Rust."""
    found = []
    for path in API:
        for match in _EXTERN.finditer(path.read_text()):
            [declared] = [function for function in declared_in(match["sql"]) if function.language == "c"]
            pairs = [_pair(part) for part in _split(match["arguments"])]
            found.append(Extern(declared, tuple(pairs), " ".join((match["result"] or "()").split())))
    return found


def declared_in(text: str) -> Iterator[Declared]:
    """The functions that a script creates."""
    text = re.sub(r"--[^\n]*", "", text)
    for match in _CREATE.finditer(text):
        attributes = match["attributes"].split()
        following = dict(pairwise(attributes))
        yield Declared(
            name=match["name"],
            arguments=tuple(_argument(part) for part in _split(match["arguments"])),
            columns=tuple((a.name, a.type) for a in map(_argument, _split(match["columns"] or ""))),
            result=_plain(match["result"]) if match["result"] else None,
            language=match["language"],
            volatility=next((_VOLATILITY[word] for word in attributes if word in _VOLATILITY), "v"),
            parallel=_PARALLEL[following.get("PARALLEL", "UNSAFE")],
            strict="STRICT" in attributes,
        )


def _split(arguments: str) -> list[str]:
    return [part.strip() for part in re.split(r",(?![^<]*>)(?=(?:[^']*'[^']*')*[^']*$)", arguments) if part.strip()]


def _argument(part: str) -> Argument:
    declared, _, default = part.partition(" DEFAULT ")
    name, _, kind = declared.strip().partition(" ")
    return Argument(name.strip('"') if kind else "", _plain(kind or name), default.strip() or None)


def _plain(kind: str) -> str:
    return " ".join(kind.split()).replace("pg_catalog.", "")


def _pair(part: str) -> tuple[str, str]:
    name, _, kind = part.partition(":")
    return name.strip(), " ".join(kind.split())
