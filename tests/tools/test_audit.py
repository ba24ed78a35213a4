"""What Trails depends on is listed as it is locked, its licences are allowed, and what outside tools find is told."""

from __future__ import annotations

import json
import re
import shutil
import stat
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.docs.blocks import sections
from tools import audit
from tools.dependencies import (
    BUILD,
    LIBRARY,
    UNSAID,
    Dependency,
    crates,
    licence_of,
    locked_crates,
    locked_packages,
    packages,
)
from tools.licences import PAGE, allowed, is_allowed, page, refused
from tools.sbom import bill

ASKED = pytest.mark.skipif(
    shutil.which("cargo") is None or "+" in version("torch"),
    reason="there is no cargo to ask, or PyTorch is not the locked build with all that it brings",
)

MIT = Dependency("cargo", "one", "1.0.0", "MIT", LIBRARY)
DAY = 1_700_000_000


def listed(title: str, first: str) -> list[list[str]]:
    [found] = [page for page in sections(PAGE) if page.title == title]
    return found.tables(first, "version", "licence")


def test_the_page_lists_what_is_locked() -> None:
    assert {(row[0], row[1]) for row in listed("Rust", "crate")} == set(locked_crates())
    assert {row[0]: row[1] for row in listed("Python", "package")} == locked_packages()


@ASKED
def test_the_page_is_what_make_audit_writes() -> None:
    assert PAGE.read_text() == page(crates(), packages()), "run: make audit"


@ASKED
def test_licences_are_allowed_and_uses_are_told_apart() -> None:
    of_rust, of_python = crates(), packages()
    assert list(refused([*of_rust, *of_python])) == []
    uses = {of.name: of.use for of in (*of_rust, *of_python)}
    assert (uses["pgrx"], uses["pgrx-macros"], uses["bindgen"]) == (LIBRARY, BUILD, BUILD)
    assert (uses["numpy"], uses["torch"], uses["pytest"]) == ("always", "train, bench", "development")
    assert all(of.sha256 and re.fullmatch("[0-9a-f]{64}", of.sha256) for of in of_rust)
    by_name = {of.name: of for of in of_rust}
    assert any(need.startswith("pgrx-pg-sys@") for need in by_name["pgrx"].needs)


def test_a_licence_that_is_not_allowed_is_refused() -> None:
    copyleft = replace(MIT, licence="GPL-3.0-only")
    python = Dependency("pypi", "two", "1", "BSD", "always")
    silent = replace(python, licence=UNSAID)
    assert list(refused([MIT, copyleft, python, silent, replace(python, ecosystem="cargo")])) == [
        copyleft,
        silent,
        replace(python, ecosystem="cargo"),
    ]
    assert {"MIT", "Apache-2.0"} <= allowed() and not {name for name in allowed() if "GPL" in name}


@pytest.mark.parametrize(
    ("expression", "fine"),
    [
        ("MIT", True),
        ("GPL", False),
        ("GPL OR MIT", True),
        ("GPL AND MIT", False),
        ("GPL AND MIT OR ISC", True),
        ("GPL AND (MIT OR ISC)", False),
        ("(GPL OR MIT) AND ISC", True),
        ("((MIT))", True),
        ("GPL WITH exception", False),
        ("ISC WITH exception AND MIT", True),
    ],
)
def test_expressions_of_licences_are_read(expression: str, fine: bool) -> None:
    assert is_allowed(expression, frozenset({"MIT", "ISC", "ISC WITH exception"})) is fine


@pytest.mark.parametrize("expression", ["", "MIT AND", "OR MIT", "(MIT", "MIT)", "MIT ISC"])
def test_what_is_no_expression_is_an_error(expression: str) -> None:
    with pytest.raises(ValueError):
        is_allowed(expression, frozenset({"MIT", "ISC"}))


def test_older_metadata_are_read() -> None:
    class Metadata(dict[str, str]):
        def get_all(self, name: str) -> list[str]:
            return [value for key, value in self.items() if key.startswith(name)]

    assert licence_of(Metadata({"License-Expression": "MIT AND PSF-2.0", "License": "other"})) == "MIT AND PSF-2.0"
    assert licence_of(Metadata({"License": "BSD 3-Clause License\n\nCopyright ..."})) == "BSD-3-Clause"
    text = {"License": "=====\nmany words", "Classifier: 1": "License :: OSI Approved :: MIT License"}
    assert licence_of(Metadata(text)) == "MIT"
    assert licence_of(Metadata({"License": "Copyright (c) 2015, somebody"})) == UNSAID


def test_the_bill_of_materials_holds_together() -> None:
    needing = Dependency("cargo", "two", "2.0.0", "MIT OR GPL-2.0", BUILD, ("one@1.0.0",), "ab" * 32)
    python = Dependency("pypi", "Some_Thing", "3", "BSD", "train", ("one@1.0.0",))
    text = bill([MIT, needing], [python, replace(python, name="silent", licence=UNSAID)], DAY)
    told = json.loads(text)
    assert (told["bomFormat"], told["specVersion"], told["version"]) == ("CycloneDX", "1.6", 1)
    assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", told["serialNumber"])
    assert told["metadata"]["timestamp"] == "2023-11-14T22:13:20Z"
    components = {of["bom-ref"]: of for of in told["components"]}
    assert len(components) == 4 and all(of["purl"] == name for name, of in components.items())
    assert components["pkg:cargo/two@2.0.0"]["licenses"] == [{"expression": "MIT OR GPL-2.0"}]
    assert components["pkg:cargo/two@2.0.0"]["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]
    assert components["pkg:pypi/some-thing@3"]["licenses"] == [{"license": {"name": "BSD"}}]
    assert "licenses" not in components["pkg:pypi/silent@3"]
    needs = {of["ref"]: of["dependsOn"] for of in told["dependencies"]}
    assert needs["pkg:cargo/two@2.0.0"] == ["pkg:cargo/one@1.0.0"]
    assert needs["pkg:pypi/some-thing@3"] == [], "a crate of that name is another thing"
    assert set(needs["trails"]) == components.keys() == needs.keys() - {"trails"}
    assert bill([MIT, needing], [python, replace(python, name="silent", licence=UNSAID)], DAY) == text


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of programs that are found, and no others."""
    monkeypatch.setenv("PATH", str(tmp_path))
    yield tmp_path


def program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_outside_tools_that_are_not_there_are_left_out(programs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert [*audit.cargo_deny(False), *audit.pip_audit(False)] == []
    told = capsys.readouterr().out
    assert "left out: cargo-deny is not installed" in told and "left out: pip-audit is not installed" in told
    assert [*audit.cargo_deny(True), *audit.pip_audit(True)] == []


def test_what_pip_audit_finds_is_told(programs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = {"dependencies": [{"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "x"}]}
    bad = {"name": "c", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["2.1"]}, {"id": "CVE-2"}]}
    write = "for last; do :; done; printf %s '{}' > \"${{last#--output=}}\"; exit {}"
    program(programs, "pip-audit", write.format(json.dumps(answer), 0))
    assert list(audit.pip_audit(False)) == []
    program(programs, "pip-audit", write.format(json.dumps({"dependencies": [*answer["dependencies"], bad]}), 1))
    assert list(audit.pip_audit(False)) == [
        "c@2: CVE-1, mended in 2.1",
        "c@2: CVE-2, mended in no version yet",
    ]
    assert capsys.readouterr().out == ""
    program(programs, "pip-audit", "echo 'no route' >&2; exit 1")
    assert list(audit.pip_audit(False)) == []
    assert "gives no answer: no route" in capsys.readouterr().out


def test_what_cargo_deny_finds_is_told(programs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def found(licences: int, fetch: int, advisories: int) -> list[str]:
        program(programs, "cargo-deny", "exit 0")
        script = f'case "$*" in *licenses*) exit {licences};; *fetch*db) echo gone >&2; exit {fetch};; '
        program(programs, "cargo", script + f"*advisories*) echo RUSTSEC; exit {advisories};; esac; exit 9")
        return list(audit.cargo_deny(False))

    assert found(0, 0, 0) == []
    assert capsys.readouterr().out == ""
    assert ["licences" in line for line in found(4, 0, 0)] == [True]
    assert ["RUSTSEC" in line for line in found(0, 0, 1)] == [True]
    assert found(0, 1, 1) == [], "without the database nothing is known"
    assert "cannot be reached: gone" in capsys.readouterr().out
