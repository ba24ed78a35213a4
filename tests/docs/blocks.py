"""What the tests read from a document: its SQL blocks with their marks, its headings, its tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

LONGEST_BUDGET = 15.0
"""Seconds; a longer budget of an example becomes `SHORT_BUDGET`."""
SHORT_BUDGET = "8 s"

_MARK = re.compile(r"<!--\s*sql:\s*(skip|error|role)\s+(.*?)\s*-->")
_SQLSTATE = re.compile(r"[0-9A-Z]{5}")
_BUDGET = re.compile(r"(budget\s*=>\s*)'([0-9.]+)\s*(s|sec|seconds?|min|minutes?|h|hours?)'", re.IGNORECASE)
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_QUOTED = re.compile(
    r"""--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|"(?:[^"]|"")*"|(\$\w*\$).*?\1|;""",
    re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """One fenced block of SQL.

    Args:
        place: File and line, for people.
        text: The statements.
        skip: Why it is not run; None if it is.
        error: The SQLSTATE that its one statement must raise.
        role: The role that runs it; None for a superuser.
    """

    place: str
    text: str
    skip: str | None = None
    error: str | None = None
    role: str | None = None


def sql_blocks(path: Path) -> list[Block]:
    """The blocks of a document in their order; a mark that nobody would obey is an error.

    Raises:
        ValueError: A mark is not right before a block of SQL, or says something else than a mark can.
    """
    found: list[Block] = []
    marks: dict[str, str] = {}
    lines = iter(enumerate(path.read_text().splitlines(), 1))
    for number, line in lines:
        place = f"{path.name}:{number}"
        if line.startswith("```"):
            text = "\n".join(line for _, line in _until_fence(lines))
            if line[3:].strip() == "sql":
                found.append(_block(place, text, marks))
            elif marks:
                raise ValueError(f"{place}: the mark before this block is for SQL only")
            marks = {}
        elif match := _MARK.fullmatch(line.strip()):
            marks[match[1]] = match[2]
        elif "<!--" in line and "sql:" in line:
            raise ValueError(f"{place}: there is no such mark: {line.strip()}")
        elif line.strip() and marks:
            raise ValueError(f"{place}: a mark stands right before its block")
    if marks:
        raise ValueError(f"{path.name}: the last mark has no block")
    return found


def _until_fence(lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    for number, line in lines:
        if line.startswith("```"):
            return
        yield number, line


def _block(place: str, text: str, marks: dict[str, str]) -> Block:
    error = marks.get("error")
    if error is not None and (not _SQLSTATE.fullmatch(error) or len(statements(text)) != 1):
        raise ValueError(f"{place}: an error is one SQLSTATE of one statement")
    return Block(place, text, marks.get("skip"), error, marks.get("role"))


def statements(text: str) -> list[str]:
    """The statements of a text, which are separated by semicolons outside of quotes and comments."""
    parts, begin = [], 0
    for match in _QUOTED.finditer(text):
        if match[0] == ";":
            parts.append(text[begin : match.start()])
            begin = match.end()
    parts.append(text[begin:])
    return [part.strip() for part in parts if re.sub(r"--[^\n]*|/\*.*?\*/", "", part, flags=re.DOTALL).strip()]


def with_short_budgets(text: str) -> str:
    """The same with every long budget replaced by a short one, so that the examples take little time."""

    def short(match: re.Match[str]) -> str:
        seconds = float(match[2]) * _SECONDS[match[3][0].lower()]
        return f"{match[1]}'{SHORT_BUDGET}'" if seconds > LONGEST_BUDGET else match[0]

    return _BUDGET.sub(short, text)


@dataclass(frozen=True)
class Section:
    """A heading with what follows it up to the next one.

    Args:
        level: Number of its hashes.
        title: Without backticks.
        text: Below it, without the sections below it.
    """

    level: int
    title: str
    text: str

    def tables(self, *first: str) -> list[list[str]]:
        """Cells of the rows of every table whose heading begins with ``first``; without backticks."""
        rows: list[list[str]] = []
        inside = False
        for line in self.text.splitlines():
            cells = _cells(line)
            if not cells:
                inside = False
            elif tuple(cells[: len(first)]) == first:
                inside = True
            elif inside and not set("".join(cells)) <= set("-: "):
                rows.append(cells)
        return rows


def sections(path: Path) -> list[Section]:
    """The sections of a document in their order; hashes within fenced blocks are no headings."""
    found: list[Section] = []
    heading, text, fenced = (0, ""), [""], False
    for line in path.read_text().splitlines():
        fenced ^= line.startswith("```")
        match = None if fenced else re.fullmatch(r"(#+) (.*)", line)
        if match is None:
            text.append(line)
            continue
        found.append(Section(*heading, "\n".join(text)))
        heading, text = (len(match[1]), match[2].replace("`", "")), []
    return [*found, Section(*heading, "\n".join(text))]


def _cells(line: str) -> list[str]:
    if not line.startswith("|"):
        return []
    return [
        cell.strip().replace("\\|", "|").replace("`", "") for cell in re.split(r"(?<!\\)\|", line.strip("| \t") + " ")
    ]
