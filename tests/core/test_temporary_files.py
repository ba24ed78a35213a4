"""What Trails' programs and documents write below /tmp has a name that nobody else can have prepared."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ("benchmarks", "demo", "docs", "python", "sql", "tools", "pg_extension/src", "crates", "README.md")


def test_no_file_has_a_fixed_name_in_a_folder_that_everybody_may_write_to() -> None:
    found = []
    for place in SHIPPED:
        here = ROOT / place
        for path in [here] if here.is_file() else sorted(here.rglob("*")):
            if path.suffix in {".py", ".sh", ".sql", ".rs", ".md"} and "target" not in path.parts:
                lines = path.read_text(errors="replace").splitlines()
                found += [
                    f"{path.relative_to(ROOT)}:{number}" for number, line in enumerate(lines, 1) if "/tmp/" in line
                ]
    assert found == []
