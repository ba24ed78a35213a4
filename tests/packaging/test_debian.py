"""The Debian packages: what their description promises is what the sources say. `make deb-check` installs them."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEBIAN = ROOT / "debian"


def paragraphs(text: str) -> list[dict[str, str]]:
    """A control file's paragraphs, fields -> values with their lines joined."""
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    found = []
    for paragraph in re.split(r"\n\s*\n", lines.strip()):
        fields = re.findall(r"^(\S+):(.*(?:\n[ \t].*)*)", paragraph, re.MULTILINE)
        found.append({name: re.sub(r"\s+", " ", value).strip() for name, value in fields})
    return found


CONTROL = {fields.get("Package", "source"): fields for fields in paragraphs((DEBIAN / "control.in").read_text())}
SERVER = CONTROL["postgresql-PGVERSION-trails"]


def test_there_is_a_package_for_each_server_and_one_for_python() -> None:
    assert {"source", "postgresql-PGVERSION-trails", "trails"} == CONTROL.keys()
    assert (SERVER["Architecture"], CONTROL["trails"]["Architecture"]) == ("linux-any", "all")
    for variable in ("${shlibs:Depends}", "${postgresql:Depends}", "${misc:Depends}"):
        assert variable in SERVER["Depends"]
    assert SERVER["Recommends"] == "trails (= ${source:Version})"
    assert "python3-venv" in CONTROL["trails"]["Depends"]


def test_the_servers_are_those_that_the_crate_has_features_for() -> None:
    features = tomllib.loads((ROOT / "pg_extension" / "Cargo.toml").read_text())["features"]
    servers = [name.removeprefix("pg") for name in features if name != "default"]
    assert (DEBIAN / "pgversions").read_text().split() == servers


def test_python_is_as_new_as_the_package_asks_for() -> None:
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert f"python3 ({wanted.replace('>=', '>= ')})" in CONTROL["trails"]["Depends"]


def test_what_is_installed_is_there() -> None:
    listed = [line.split()[0] for line in (DEBIAN / "trails.install").read_text().splitlines()]
    listed += (DEBIAN / "trails.manpages").read_text().split()
    rules = (DEBIAN / "rules").read_text()
    [documents] = re.findall(r"dh_installdocs --all (.*)", rules)
    for name in [*listed, *documents.split()]:
        assert (ROOT / name).is_file() or name.startswith("build-"), name
    for made in (name for name in listed if name.startswith("build-")):
        assert f"tools/package.py {Path(made).parent}" in rules
    # Owned by nobody but these, or purging would leave or take too much.
    assert (DEBIAN / "trails.dirs").read_text().split() == ["var/lib/trails"]


def test_nothing_is_downloaded_while_packages_are_installed() -> None:
    scripts = [path for kind in ("preinst", "postinst", "prerm", "postrm") for path in DEBIAN.glob(f"*{kind}")]
    assert scripts
    for path in scripts:
        text = path.read_text()
        assert not re.search(r"\b(pip|curl|wget|apt-get)\b", text), path.name
        assert set(re.findall(r"^\s*trails-environment (\S+)", text, re.MULTILINE)) <= {"--refresh"}
        assert "#DEBHELPER#" in text
        subprocess.run(["sh", "-n", path], check=True)


def test_purging_takes_what_the_command_made_and_nothing_else(tmp_path: Path) -> None:
    script = (DEBIAN / "trails.postrm").read_text().replace("/var/lib/trails", str(tmp_path / "trails"))
    environment = tmp_path / "trails" / "venv"
    for marked, left in ((True, set()), (False, {"venv", "thesis.tex"})):
        environment.mkdir(parents=True)
        (environment / (".trails-environment" if marked else "thesis.tex")).touch()
        for step in ("remove", "upgrade"):
            subprocess.run(["sh", "-c", script, "postrm", step], check=True)
            assert environment.is_dir()
        subprocess.run(["sh", "-c", script, "postrm", "purge"], check=True)
        assert {path.name for path in tmp_path.rglob("*")} - {"trails"} == left
        assert marked != (tmp_path / "trails").exists()


@pytest.mark.skipif(not shutil.which("dpkg-parsechangelog"), reason="needs Debian's dpkg-dev")
def test_the_changelog_is_one() -> None:
    done = subprocess.run(
        ["dpkg-parsechangelog", "--file", DEBIAN / "changelog", "--all"], capture_output=True, text=True, check=True
    )
    assert not done.stderr and "Source: trails" in done.stdout


@pytest.mark.skipif(not shutil.which("pg_buildext"), reason="needs Debian's postgresql-common")
def test_each_server_gets_its_paragraph(tmp_path: Path) -> None:
    shutil.copytree(DEBIAN, tmp_path / "debian")
    servers = {"PG_SUPPORTED_VERSIONS": "14 15 17 19", "PATH": "/usr/bin:/bin"}
    subprocess.run(["pg_buildext", "updatecontrol"], cwd=tmp_path, env=servers, check=True)
    made = [fields.get("Package") for fields in paragraphs((tmp_path / "debian" / "control").read_text())]
    assert made == [None, "postgresql-15-trails", "postgresql-17-trails", "trails"]
    assert "PGVERSION" not in (tmp_path / "debian" / "control").read_text()
