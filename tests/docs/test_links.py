"""Links within the documents lead somewhere, and what they name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.harness import experiments
from tests.docs.blocks import DOCUMENTS, ROOT, sections


def anchors(path: Path) -> set[str]:
    """The names that headings have as targets of links."""
    found = set()
    for page in sections(path):
        found.add(re.sub(r"[^\w\- ]", "", page.title.lower()).replace(" ", "-"))
    return found


@pytest.mark.parametrize("path", sorted({*DOCUMENTS, *ROOT.glob("*.md")}), ids=lambda path: path.stem)
def test_links_lead_somewhere(path: Path) -> None:
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        to = (path.parent / name).resolve() if name else path
        assert to.exists(), f"{path.name} links to {target}"
        assert not anchor or anchor in anchors(to), f"{path.name} links to {target}, which has no such heading"


def test_the_experiments_of_the_research_guide_exist() -> None:
    guide = sections(ROOT / "docs" / "research.md")
    named = {cells[0] for page in guide for cells in page.tables("experiment")}
    assert named and named <= experiments().keys()
