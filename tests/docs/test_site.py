"""The documents as a site, without building it: every page is in the navigation, and every link leads to a page.

`make docs` builds it, and takes a link that leads nowhere for an error.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, sections
from tools import docs_site
from tools.docs_site import PAGES, linked, place_of, rewritten, shown, sources

DOCUMENTS = sorted([*PAGES, *(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))])
ASSETS = {
    str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*") if path.suffix in {".svg", ".png"}
}


def navigation() -> list[str]:
    """The pages that mkdocs.yml lists."""
    text = (ROOT / "mkdocs.yml").read_text()
    nav = re.search(r"^nav:\n((?: .*\n)+)", text, re.MULTILINE)
    assert nav is not None
    return re.findall(r"^ +- [^:\n]+: (\S+\.md)$", nav[1], re.MULTILINE)


def test_every_document_is_in_the_navigation_once() -> None:
    pages = navigation()
    assert len(set(pages)) == len(pages)
    assert set(pages) == {place_of(path) for path in DOCUMENTS}


def test_every_document_is_named_in_the_readme() -> None:
    named = set(linked((ROOT / "README.md").read_text(), "README.md").values())
    assert {path for path in DOCUMENTS if path != "README.md"} <= named


@pytest.mark.parametrize("path", DOCUMENTS)
def test_links_of_the_site_lead_to_its_pages(path: str) -> None:
    there = {place_of(path) for path in (*DOCUMENTS, *sources())} | ASSETS
    page = place_of(path)
    text = re.sub(r"```.*?```", "", rewritten((ROOT / path).read_text(), path), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        name = target.partition("#")[0]
        if name and not re.match(r"[a-z]+:", target):
            to = posixpath.normpath(posixpath.join(posixpath.dirname(page), name))
            assert to in there, f"{page} links to {target}"


def test_links_are_rewritten_and_code_is_not() -> None:
    text = (
        "[a](tutorial.md#1-a-table) [b](../CHANGELOG.md) ![c](study/knas-criteo.svg)\n[d](https://a.org) [e](#here)\n"
        "<!-- sql: skip why -->\n```sql\nSELECT '[f](../CHANGELOG.md)';\n```\n[g](../python/trails/table/) [h](no.md)\n"
    )
    assert rewritten(text, "docs/dba.md") == (
        "[a](tutorial.md#1-a-table) [b](changelog.md) ![c](study/knas-criteo.svg)\n[d](https://a.org) [e](#here)\n"
        "```sql\nSELECT '[f](../CHANGELOG.md)';\n```\n[g](sources/python/trails/table.md) [h](no.md)\n"
    )
    assert rewritten("[a](docs/dba.md) [b](LICENSE)", "README.md") == "[a](dba.md) [b](sources/LICENSE.md)"
    assert docs_site.origin_of("index.md") == "README.md" and docs_site.origin_of("dba.md") == "docs/dba.md"


def test_files_of_the_repository_are_shown_whole() -> None:
    shared = (ROOT / "python" / "trails" / "limits.toml").read_text().rstrip()
    assert shared in shown("python/trails/limits.toml") and "```toml" in shown("python/trails/limits.toml")
    assert "- `columns.py`" in shown("python/trails/table")
    fenced = shown("docs/tutorial.md")
    assert fenced.count("\n````") == 2, "a file with blocks of code of its own"


def test_every_shown_file_is_text() -> None:
    for path in sources():
        assert (ROOT / path).is_dir() or (ROOT / path).read_text(), path


def test_what_the_readme_says_was_measured_is_in_the_whole_table() -> None:
    def measured(path: Path) -> list[list[str]]:
        return [row for page in sections(path) for row in page.tables("what", "figure", "command")]

    told, whole = measured(ROOT / "README.md"), measured(ROOT / "docs" / "performance.md")
    assert 5 <= len(told) < len(whole)
    assert [row for row in told if row not in whole] == []


def test_the_readme_is_for_ten_minutes() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 170
