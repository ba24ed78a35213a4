"""The modules of the Rust crates depend on each other one way: their paths say what each uses, and no circle is left.

To see the circles of a working tree: `python -m pytest tests/core/test_structure.py`.
"""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
CRATES = [ROOT / "pg_extension" / "src", ROOT / "crates" / "model" / "src"]

# A module's path from the root of its crate; () is the root.
Module = tuple[str, ...]
Uses = dict[Module, set[Module]]

# Comments, texts and characters, in which no path is meant.
UNREAD = re.compile(r'//[^\n]*|/\*.*?\*/|b?r(#+)".*?"\1|b?c?r?"(?:\\.|[^"\\])*"|\'(?:\\.[^\']*|[^\'\\])\'', re.DOTALL)
TESTS = re.compile(r"#\[cfg\(test\)\]\s*(?:#\[[^\]]*\]\s*)*(?:pub(?:\([^)]*\))? )?mod \w+ *([{;])")
DECLARED = re.compile(r"^\s*(?:pub(?:\([^)]*\))? )?mod (\w+);", re.MULTILINE)
TOKEN = re.compile(r"\$?\w+|::|.", re.DOTALL)


def test_modules_of_rust_have_no_circles() -> None:
    circles = [circle for crate in CRATES for circle in circles_of(uses_of(sources_of(crate)), crate.parent.name)]
    assert not circles, "modules that depend on each other:\n" + "\n".join(circles)


def test_what_modules_use_is_found() -> None:
    extension, model = (uses_of(sources_of(crate)) for crate in CRATES)
    assert {("reader", "query"), ("reader", "named"), ("error",)} <= extension["reader", "source"]
    assert {("catalog",), ("outcome",), ("resume",)} <= extension["selection",]
    assert ("settings",) in extension[()]
    assert ("kernels", "block") in model["kernels", "avx2"]
    assert not [module for module in (*extension, *model) if "tests" in module[-1:]]


def test_circles_are_seen() -> None:
    sources: dict[Module, str] = {
        (): "mod a; mod b; mod folder; mod end;",
        ("a",): "use crate::{end::{self, Y as Z}, folder::inner::X};",
        ("b",): "fn f() { crate::a::g(\"crate::end\") } // crate::end\n #[cfg(test)] mod tests { use crate::end; }",
        ("end",): "",
        ("folder",): "mod inner; mod other; pub use inner::X;",
        ("folder", "inner"): "",
        ("folder", "other"): "use super::inner; fn f() { crate::b::g() }",
    }  # fmt: skip
    uses = uses_of(sources)
    assert uses["a",] == {("end",), ("folder", "inner")}
    assert uses["b",] == {("a",)}
    assert uses["folder",] == {("folder", "inner")}
    assert uses["folder", "other"] == {("folder", "inner"), ("b",)}
    # No file depends on itself, but the folder does.
    assert circles_of(uses, "crate") == ["crate: a -> folder -> b -> a"]
    sources["folder", "inner"] = "use super::other::f;"
    sources["folder", "other"] += "use self::super::inner::X;"
    assert "crate: folder/inner -> folder/other -> folder/inner" in circles_of(uses_of(sources), "crate")


def sources_of(crate: Path) -> dict[Module, str]:
    """Module -> source; modules that only tests have are left out."""
    found: dict[Module, str] = {}
    pending: list[tuple[Module, Path, Path]] = [((), crate / "lib.rs", crate)]
    while pending:
        module, file, folder = pending.pop()
        found[module] = file.read_text()
        for name in DECLARED.findall(without_tests(found[module])):
            alone, inner = folder / f"{name}.rs", folder / name
            pending.append(((*module, name), alone if alone.exists() else inner / "mod.rs", inner))
    return found


def without_tests(source: str) -> str:
    source = UNREAD.sub(" ", source)
    while match := TESTS.search(source):
        end = match.end()
        depth = 1 if match[1] == "{" else 0
        while depth:
            depth += {"{": 1, "}": -1}.get(source[end], 0)
            end += 1
        source = source[: match.start()] + source[end:]
    return source


def uses_of(sources: dict[Module, str]) -> Uses:
    """Module -> the modules whose contents it names, itself left out."""
    uses: Uses = {}
    for module, source in sources.items():
        paths = (resolved(module, path, sources) for path in paths_in(without_tests(source)))
        uses[module] = {path for path in paths if path is not None} - {module}
    return uses


def paths_in(source: str) -> Iterator[list[str]]:
    """The paths that a source names, the branches of `use a::{b, c}` one by one."""
    tokens = [token for token in TOKEN.findall(source) if not token.isspace()]
    place = 0
    while place < len(tokens) - 1:
        begins = tokens[place + 1] == "::" and re.fullmatch(r"\w+", tokens[place])
        if not begins:
            place += 1
            continue
        paths, place = tree_at(tokens, place)
        yield from paths


def tree_at(tokens: list[str], place: int) -> tuple[list[list[str]], int]:
    """The paths of the tree that begins at a name, and the place behind it."""
    path = [tokens[place]]
    place += 1
    while place + 1 < len(tokens) and tokens[place] == "::":
        after = tokens[place + 1]
        if after == "{":
            paths, place = [], place + 2
            while tokens[place] != "}":
                if re.fullmatch(r"\w+", tokens[place]) and tokens[place - 1] != "as":
                    branches, place = tree_at(tokens, place)
                    paths += [path + branch for branch in branches]
                else:
                    place += 1
            return paths, place + 1
        if not re.fullmatch(r"\w+", after):
            return [path], place + 2
        path.append(after)
        place += 2
    return [path], place


def resolved(module: Module, path: list[str], sources: dict[Module, str]) -> Module | None:
    """The module that holds what a path names; None for another crate's, and for a name of the module itself."""
    place = module
    rest = list(path)
    if rest[0] == "crate":
        place, rest = (), rest[1:]
    elif rest[0] not in ("self", "super") and (*module, rest[0]) not in sources:
        return None
    while rest and rest[0] in ("self", "super"):
        place = place[:-1] if rest[0] == "super" else place
        rest = rest[1:]
    while rest and (*place, rest[0]) in sources:
        place, rest = (*place, rest[0]), rest[1:]
    return place


def circles_of(uses: Uses, crate: str) -> list[str]:
    """One circle of each knot of files, and of each knot of what lies in one folder, folders taken as one."""
    found = [circle for circle in knots(uses)]
    for folder in {module[:-1] for module in uses if module}:
        level = len(folder) + 1
        inside: Uses = {}
        for module in uses:
            if module[: level - 1] == folder and len(module) >= level:
                reached = {used[:level] for used in uses[module] if used[: level - 1] == folder and len(used) >= level}
                inside.setdefault(module[:level], set()).update(reached - {module[:level]})
        found += knots(inside)
    named = {f"{crate}: " + " -> ".join("/".join(module) or "lib" for module in circle) for circle in found}
    return sorted(named)


def knots(uses: Uses) -> list[list[Module]]:
    """The shortest circle through the first module of every set of modules that reach each other."""
    circles: list[list[Module]] = []
    seen: set[Module] = set()
    for module in sorted(uses):
        if module in seen:
            continue
        circle = shortest_circle(uses, module)
        if circle:
            reach = reached_from(uses, module)
            seen |= {other for other in reach if module in reached_from(uses, other)}
            circles.append(circle)
    return circles


def shortest_circle(uses: Uses, module: Module) -> list[Module] | None:
    ways: list[list[Module]] = [[module]]
    been: set[Module] = set()
    while ways:
        way = ways.pop(0)
        for used in sorted(uses.get(way[-1], ())):
            if used == module:
                return [*way, module]
            if used not in been:
                been.add(used)
                ways.append([*way, used])
    return None


def reached_from(uses: Uses, module: Module) -> set[Module]:
    reached: set[Module] = set()
    pending = [module]
    while pending:
        new = uses.get(pending.pop(), set()) - reached
        reached |= new
        pending += new
    return reached
