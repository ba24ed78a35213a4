"""Every SQL block of the documents runs, in order, in a database of the document's own.

Comments right before a block change that: `<!-- sql: skip REASON -->`; `<!-- sql: error SQLSTATE -->` for a block of
one statement that must fail so; `<!-- sql: role NAME -->` for the role that runs it. Long budgets are shortened, and
what documents take for granted (datasets, a role, a run that was cut) is made by the fixture `reader_of`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.docs.blocks import DOCUMENTS, ROOT, Block, sql_blocks, statements, with_short_budgets
from tests.docs.conftest import Reader

WITH_EXAMPLES = [path for path in DOCUMENTS if "\n```sql" in path.read_text()]


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: path.stem)
def test_examples_run(path: Path, reader_of: Callable[[Path], Reader]) -> None:
    blocks = sql_blocks(path)
    assert any(block.skip is None for block in blocks)
    reader = reader_of(path)
    for block in blocks:
        reader.try_out(block)


def test_python_examples_of_the_research_guide_run(capsys: pytest.CaptureFixture[str]) -> None:
    path = ROOT / "docs" / "research.md"
    examples = re.findall(r"^```python\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE)
    assert examples
    for text in examples:
        exec(compile(text, path.name, "exec"), {})
    assert "winner='32-16-32-16'" in capsys.readouterr().out


def test_the_documents_with_examples_are_found() -> None:
    assert {"README", "tutorial", "sql_reference", "dba"} <= {path.stem for path in WITH_EXAMPLES}


def test_statements_end_at_semicolons_that_are_not_quoted() -> None:
    text = "SELECT ';' -- not; here\n; DO $x$ BEGIN; END $x$; /* ; */ SELECT \"a;b\", 'it''s;' ;\n-- the end\n"
    assert statements(text) == [
        "SELECT ';' -- not; here",
        "DO $x$ BEGIN; END $x$",
        "/* ; */ SELECT \"a;b\", 'it''s;'",
    ]


def test_long_budgets_are_shortened_and_nothing_else() -> None:
    text = "f(budget => '60 s'), f(budget=>'2 min'), f(budget => '15 s'), interval '60 s', f(budget => '1 hour')"
    assert with_short_budgets(text) == (
        "f(budget => '8 s'), f(budget=>'8 s'), f(budget => '15 s'), interval '60 s', f(budget => '8 s')"
    )


def test_marks_are_obeyed_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("<!-- sql: error 22023 -->\n\n```sql\nSELECT 1;\n```\n\n```sh\n# no heading\n```\n")
    assert sql_blocks(path) == [Block("page.md:3", "SELECT 1;", error="22023")]
    for text in (
        "<!-- sql: ignore -->\n```sql\nSELECT 1\n```\n",
        "<!-- sql: error -->\n```sql\nSELECT 1\n```\n",
        "<!-- sql: error 22023 -->\n```sql\nSELECT 1; SELECT 2\n```\n",
        "<!-- sql: skip why -->\nsome words\n```sql\nSELECT 1\n```\n",
        "<!-- sql: skip why -->\n```sh\nls\n```\n",
        "<!-- sql: skip why -->\n",
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"page\.md"):
            sql_blocks(path)
