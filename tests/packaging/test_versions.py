"""One version, everywhere; and META.json, which is held to version 1.0.0 of PGXN's specification."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import trails

ROOT = Path(__file__).resolve().parents[2]
META: dict[str, Any] = json.loads((ROOT / "META.json").read_text())
MANIFESTS = sorted([*ROOT.glob("crates/*/Cargo.toml"), ROOT / "pg_extension" / "Cargo.toml"])
OURS = {tomllib.loads(path.read_text())["package"]["name"] for path in MANIFESTS}

# Of the specification: semantic versions of three numbers; names without slashes, backslashes, blanks at either end.
_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-?[a-z][0-9a-z.-]*)?", re.IGNORECASE)
_NAME = re.compile(r"[^\s/\\\x00-\x1f]{2,}")
_TAG = re.compile(r"[^/\\\x00-\x1f]{1,255}")
_STATUSES = {"stable", "testing", "unstable"}
_PHASES = {"configure", "build", "test", "runtime", "develop"}
_RELATIONS = {"requires", "recommends", "suggests", "conflicts"}
_LICENSES = {
    "agpl_3", "apache_1_1", "apache_2_0", "artistic_1", "artistic_2", "bsd", "freebsd", "gfdl_1_2", "gfdl_1_3",
    "gpl_1", "gpl_2", "gpl_3", "lgpl_2_1", "lgpl_3_0", "mit", "mozilla_1_0", "mozilla_1_1", "openssl", "perl_5",
    "postgresql", "qpl_1_0", "ssleay", "sun", "zlib", "open_source", "restricted", "unrestricted", "unknown",
}  # fmt: skip
_REQUIRED = {"name", "version", "abstract", "maintainer", "license", "provides", "meta-spec"}
_OPTIONAL = {"description", "generated_by", "tags", "no_index", "prereqs", "release_status", "resources"}


def wrong(meta: dict[str, Any], root: Path = ROOT) -> Iterator[str]:
    """What the specification does not allow of a META.json."""
    yield from (f"{name} is missing" for name in sorted(_REQUIRED - meta.keys()))
    unknown = {name for name in meta.keys() - _REQUIRED - _OPTIONAL if not name.lower().startswith("x_")}
    yield from (f"{name} is no key of the specification" for name in sorted(unknown))
    for name in ("name", "abstract", "description", "generated_by"):
        if name in meta and not (isinstance(meta[name], str) and meta[name].strip()):
            yield f"{name} is no text"
    if not _NAME.fullmatch(str(meta.get("name", "xx"))):
        yield "name holds what a name must not"
    if not _VERSION.fullmatch(str(meta.get("version", "1.0.0"))):
        yield "version is none"
    maintainers = meta.get("maintainer", "somebody")
    for maintainer in maintainers if isinstance(maintainers, list) else [maintainers]:
        if not (isinstance(maintainer, str) and maintainer.strip()):
            yield "maintainer is no text"
    license = meta.get("license", "mit")
    if not isinstance(license, dict) and not {*([license] if isinstance(license, str) else license)} <= _LICENSES:
        yield "license is not one that the specification names"
    if meta.get("release_status", "stable") not in _STATUSES:
        yield "release_status is not one of three"
    if meta.get("meta-spec", {}).get("version") != "1.0.0":
        yield "meta-spec names no version"
    tags = meta.get("tags", [])
    if len({*tags}) != len(tags) or not all(_TAG.fullmatch(tag) for tag in tags):
        yield "tags are no tags"
    yield from _wrong_of_provides(meta.get("provides", {"x": {"file": "META.json", "version": "1.0.0"}}), root)
    yield from _wrong_of_prereqs(meta.get("prereqs", {}))
    yield from (
        f"no_index: {name} is neither file nor directory"
        for name in meta.get("no_index", {}).keys() - {"file", "directory"}
    )
    for kind in ("file", "directory"):
        for name in meta.get("no_index", {}).get(kind, []):
            if not (root / name).exists():
                yield f"no_index: there is no {name}"


def _wrong_of_provides(provides: dict[str, Any], root: Path) -> Iterator[str]:
    if not provides:
        yield "provides is empty"
    for name, extension in provides.items():
        yield from (f"{name}: {key} is missing" for key in ("file", "version") if key not in extension)
        if not _VERSION.fullmatch(str(extension.get("version", "1.0.0"))):
            yield f"{name}: version is none"
        for key in ("file", "docfile"):
            path = Path(extension.get(key, "META.json"))
            if path.is_absolute() or ".." in path.parts or not (root / path).is_file():
                yield f"{name}: {key} is no file of the distribution"


def _wrong_of_prereqs(prereqs: dict[str, Any]) -> Iterator[str]:
    for phase, relations in prereqs.items():
        if phase not in _PHASES:
            yield f"prereqs: {phase} is no phase"
        for relation, needed in relations.items():
            if relation not in _RELATIONS:
                yield f"prereqs: {relation} is no relation"
            for name, version in needed.items():
                parts = str(version).split(",")
                if version != 0 and not all(
                    _VERSION.fullmatch(re.sub(r"^\s*(?:[<>]=?|[!=]=)?\s*", "", p)) for p in parts
                ):
                    yield f"prereqs: {name} has no version"


def test_meta_json_is_as_the_specification_says() -> None:
    assert list(wrong(META)) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"abstract": ""}, "abstract is no text"),
        ({"version": "0.2"}, "version is none"),
        ({"version": "01.2.0"}, "version is none"),
        ({"license": "Apache-2.0"}, "license is not one that the specification names"),
        ({"release_status": "alpha"}, "release_status is not one of three"),
        ({"tags": ["a", "a"]}, "tags are no tags"),
        ({"meta-spec": {}}, "meta-spec names no version"),
        ({"provides": {}}, "provides is empty"),
        ({"provides": {"trails": {"version": "0.2.0"}}}, "trails: file is missing"),
        ({"provides": {"trails": {"version": "0.2.0", "file": "no"}}}, "trails: file is no file of the distribution"),
        ({"prereqs": {"runtime": {"needs": {}}}}, "prereqs: needs is no relation"),
        ({"prereqs": {"runtime": {"requires": {"PostgreSQL": "fifteen"}}}}, "prereqs: PostgreSQL has no version"),
        ({"homepage": "x"}, "homepage is no key of the specification"),
        ({"no_index": {"directory": ["nowhere"]}}, "no_index: there is no nowhere"),
    ],
)  # fmt: skip
def test_what_the_specification_does_not_allow_is_seen(change: dict[str, Any], said: str) -> None:
    assert list(wrong({**META, **change})) == [said]
    for name in _REQUIRED:
        assert f"{name} is missing" in wrong({key: value for key, value in META.items() if key != name})


def test_what_is_provided_is_the_extension() -> None:
    [(name, provided)] = META["provides"].items()
    assert (ROOT / provided["file"]).stem == name == META["name"]
    control = (ROOT / provided["file"]).read_text()
    assert re.search(r"^comment = '(.*)'$", control, re.MULTILINE)[1] == META["abstract"]  # type: ignore[index]
    majors = re.findall(r"^pg(\d+) = ", (ROOT / "pg_extension" / "Cargo.toml").read_text(), re.MULTILINE)
    assert META["prereqs"]["runtime"]["requires"]["PostgreSQL"] == f"{min(map(int, majors))}.0.0"


def versions() -> dict[str, str]:
    """Every place that says which version this is -> what it says."""
    found = {
        "pyproject.toml": tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"],
        "python/trails/__init__.py": trails.__version__,
        "META.json": META["version"],
        "META.json: provides": META["provides"]["trails"]["version"],
        "CHANGELOG.md": re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[0],
    }
    # Debian's revision counts the packages of one version.
    [found["debian/changelog"]] = re.findall(r"\Atrails \((\S+)-\d+\)", (ROOT / "debian" / "changelog").read_text())
    for path in MANIFESTS:
        found[str(path.relative_to(ROOT))] = tomllib.loads(path.read_text())["package"]["version"]
        for package in tomllib.loads(path.with_name("Cargo.lock").read_text())["package"]:
            if package["name"] in OURS:
                found[f"{path.with_name('Cargo.lock').relative_to(ROOT)}: {package['name']}"] = package["version"]
    control = (ROOT / "pg_extension" / "trails.control").read_text()
    # pgrx puts the crate's version there.
    [said] = re.findall(r"^default_version = '(.*)'$", control, re.MULTILINE)
    found["trails.control"] = found["pg_extension/Cargo.toml"] if said == "@CARGO_VERSION@" else said
    return found


def test_the_version_is_the_same_everywhere() -> None:
    found = versions()
    assert len(found) >= 10 and {"trails", "trails_model"} == OURS
    assert set(found.values()) == {trails.__version__}, found


def test_every_released_version_can_be_upgraded_from() -> None:
    scripts = {path.name for path in (ROOT / "pg_extension" / "sql").glob("trails--*--*.sql")}
    headings = re.findall(r"^## (\d\S*)(.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert all(re.fullmatch(r"( \((\d{4}-\d\d-\d\d|unreleased)\))?", rest) for _, rest in headings)
    released = [version for version, rest in headings if "unreleased" not in rest]
    earlier = {path.stem.split("--")[1] for path in (ROOT / "tests" / "sql" / "released").glob("trails--*.sql")}
    assert {*released} - {trails.__version__} == earlier, "each has its script, to be upgraded from in a test"
    steps = [tuple(name.removesuffix(".sql").split("--")[1:]) for name in scripts]
    reached = {trails.__version__}
    for _ in steps:
        reached |= {begin for begin, end in steps if end in reached}
    assert set(released) <= reached


def test_what_is_not_released_is_not_called_stable() -> None:
    newest = re.search(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert "unreleased" not in newest[1] or META["release_status"] != "stable"
