"""Which licences are allowed, and docs/licences.md, which lists what there is."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator

from tools.dependencies import ROOT, UNSAID, Dependency

PAGE = ROOT / "docs" / "licences.md"

TOLERATED = {
    "BSD": "which of the BSD licences is not said; every one is permissive",
    "LGPL-3.0-only": "imported by benchmarks, as it is installed; no part of Trails needs it",
    "LGPL-3.0-or-later with exceptions": "imported as it is installed; Trails passes no part of it on",
    "LicenseRef-NVIDIA-Proprietary": "comes with PyTorch's ordinary build, for GPUs; the CPU-only build does without",
    "MPL-2.0": "who changes a file of it publishes that file; Trails changes none",
}
"""Licences that deny.toml does not allow, and Python's packages may have: nothing of them is passed on with Trails."""

KNOWN = {"cuda-toolkit": "an empty package that lists NVIDIA's others"}
"""Packages whose metadata do not say which licence they have."""

_HEAD = """\
# Licences of what Trails depends on

Written by `make audit` from `Cargo.lock`, `requirements.lock` and what these packages say of themselves; a test
compares it with both. Trails itself is under Apache-2.0. Which licences are allowed is in [deny.toml](../deny.toml).

{counts}

These are tolerated in Python's packages, of which Trails passes nothing on:

{tolerated}

## Rust

A crate is in the library, or only needed to build it, or for other platforms than Linux on x86-64.

{crates}

## Python

The parts of Trails that need a package: always, or the extras of `pyproject.toml`. What no part needs is for
development, tests and benchmarks.

{packages}
"""


def allowed() -> frozenset[str]:
    """Of deny.toml."""
    return frozenset(tomllib.loads((ROOT / "deny.toml").read_text())["licenses"]["allow"])


def is_allowed(expression: str, licences: frozenset[str]) -> bool:
    """Whether an SPDX expression can be met with these licences.

    Args:
        expression: Of licences with AND, OR and parentheses; AND binds closer.
        licences: Those that are fine.

    Raises:
        ValueError: It is no such expression.
    """
    tokens = re.findall(r"\(|\)|[^()\s]+", expression)
    value, rest = _any_of(_joined(tokens), licences)
    if rest:
        raise ValueError(f"no licence expression: {expression}")
    return value


def _joined(tokens: list[str]) -> list[str]:
    """With every exception as a part of its licence."""
    text = " ".join(tokens)
    return [part.replace("\0", " ") for part in re.sub(r" (WITH|with) ", "\0\\1\0", text).split(" ") if part]


def _any_of(tokens: list[str], licences: frozenset[str]) -> tuple[bool, list[str]]:
    value, rest = _all_of(tokens, licences)
    while rest and rest[0] == "OR":
        other, rest = _all_of(rest[1:], licences)
        value |= other
    return value, rest


def _all_of(tokens: list[str], licences: frozenset[str]) -> tuple[bool, list[str]]:
    value, rest = _one(tokens, licences)
    while rest and rest[0] == "AND":
        other, rest = _one(rest[1:], licences)
        value &= other
    return value, rest


def _one(tokens: list[str], licences: frozenset[str]) -> tuple[bool, list[str]]:
    if not tokens or tokens[0] in (")", "AND", "OR"):
        raise ValueError("a licence is missing")
    if tokens[0] != "(":
        return tokens[0] in licences, tokens[1:]
    value, rest = _any_of(tokens[1:], licences)
    if not rest or rest[0] != ")":
        raise ValueError("a parenthesis is missing")
    return value, rest[1:]


def refused(dependencies: Iterable[Dependency]) -> Iterator[Dependency]:
    """Those whose licence is neither allowed nor tolerated."""
    fine = allowed()
    for of in dependencies:
        if of.licence == UNSAID:
            if of.ecosystem == "cargo" or of.name not in KNOWN:
                yield of
        elif not is_allowed(of.licence, fine if of.ecosystem == "cargo" else fine | TOLERATED.keys()):
            yield of


def page(crates: list[Dependency], packages: list[Dependency]) -> str:
    """The text of docs/licences.md."""
    counted = Counter(of.licence for of in (*crates, *packages))
    counts = sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))
    tolerated = [(f"`{name}`", why) for name, why in sorted(TOLERATED.items())]
    tolerated += [(f"{UNSAID}: {name}", why) for name, why in sorted(KNOWN.items())]
    return _HEAD.format(
        counts=_table(("licence", "crates and packages"), counts),
        tolerated=_table(("licence", "why"), tolerated),
        crates=_table(("crate", "version", "licence", "where"), map(_row, crates)),
        packages=_table(("package", "version", "licence", "needed by"), map(_row, packages)),
    )


def _row(of: Dependency) -> tuple[str, ...]:
    return of.name, of.version, of.licence, of.use


def _table(head: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
