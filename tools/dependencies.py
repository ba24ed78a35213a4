"""What Trails depends on: every crate of the lock files, every package of requirements.lock, with licences and use."""

from __future__ import annotations

import importlib.metadata as installed
import json
import re
import subprocess
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
CRATE = ROOT / "pg_extension" / "Cargo.toml"
PLATFORM = "x86_64-unknown-linux-gnu"

UNSAID = "not said"
"""The licence of a package whose metadata have none."""

LIBRARY, BUILD, ELSEWHERE = "in the library", "builds it", "on other platforms"
"""Where a crate is used."""

DEVELOPMENT = "development"
"""Where a package is used that no part of Trails needs to run."""

_FOR_DEVELOPERS = {"benchmarks", "test", "dev"}
"""Extras of pyproject.toml that nobody needs who uses Trails."""

_SPELT = {
    "MIT License": "MIT",
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "3-Clause BSD License": "BSD-3-Clause",
    "BSD 3-Clause License": "BSD-3-Clause",
    "BSD 2-Clause License": "BSD-2-Clause",
    "BSD License": "BSD",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "LGPL with exceptions": "LGPL-3.0-or-later with exceptions",
    "NVIDIA Proprietary Software": "LicenseRef-NVIDIA-Proprietary",
}
"""Licences as older metadata spell them -> as SPDX does, but for "BSD", which leaves open which of them."""

_SPDX = re.compile(r"(?:LicenseRef-)?[A-Z][\w.+-]*\d[\w.+-]*|MIT|ISC|Zlib|BSD|Unlicense")


@dataclass(frozen=True)
class Dependency:
    """One crate or package.

    Args:
        ecosystem: ``cargo`` or ``pypi``, as package URLs name them.
        name: Of it.
        version: The locked one.
        licence: An SPDX expression where its metadata have one; else what they say, or `UNSAID`.
        use: Where it is used.
        needs: Names of what it needs itself, as ``name@version``.
        sha256: Of its archive, where the lock file has it.
    """

    ecosystem: str
    name: str
    version: str
    licence: str
    use: str
    needs: tuple[str, ...] = ()
    sha256: str | None = None

    @property
    def reference(self) -> str:
        """Name and version."""
        return f"{self.name}@{self.version}"


def locked_crates() -> dict[tuple[str, str], dict[str, Any]]:
    """Name and version of every crate of somebody else in the lock files -> its entry."""
    found = {}
    for lock in sorted([*ROOT.glob("crates/*/Cargo.lock"), ROOT / "pg_extension" / "Cargo.lock"]):
        for package in tomllib.loads(lock.read_text())["package"]:
            if "source" in package:
                found[package["name"], package["version"]] = package
    return found


def locked_packages() -> dict[str, str]:
    """Name of every package of requirements.lock -> version."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pairs = (line.split("==") for line in lines if line.strip() and not line.startswith("#"))
    return {name.strip(): version.strip() for name, version in pairs}


def crates() -> list[Dependency]:
    """Of the extension and what it is built of, by name.

    Raises:
        RuntimeError: cargo does not answer.
    """
    everywhere, here = _metadata(), _metadata("--filter-platform", PLATFORM)
    packages = {package["id"]: package for package in everywhere["packages"]}
    nodes = {node["id"]: node for node in here["resolve"]["nodes"]}
    linked = _linked(nodes, packages, here["resolve"]["root"])
    names = {identity: f"{package['name']}@{package['version']}" for identity, package in packages.items()}
    needs = {node["id"]: sorted(names[of] for of in node["dependencies"]) for node in everywhere["resolve"]["nodes"]}
    locked = locked_crates()
    found = []
    for identity, package in packages.items():
        if package["source"] is None:
            continue
        key = package["name"], package["version"]
        use = LIBRARY if identity in linked else BUILD if identity in nodes else ELSEWHERE
        licence = (package["license"] or UNSAID).replace("/", " OR ")
        entry = locked.get(key, {})
        found.append(Dependency("cargo", *key, licence, use, tuple(needs[identity]), entry.get("checksum")))
    return sorted(found, key=lambda crate: (crate.name, crate.version))


@cache
def _metadata(*arguments: str) -> dict[str, Any]:
    """What cargo says; from what is on this machine, or else with what it has to fetch."""
    command = ["cargo", "metadata", "--format-version=1", "--locked", f"--manifest-path={CRATE}", *arguments]
    for offline in (["--offline"], []):
        try:
            done = subprocess.run([*command, *offline], capture_output=True, text=True, check=False)
        except OSError as error:
            raise RuntimeError(f"cargo does not run: {error}") from error
        if done.returncode == 0:
            told: dict[str, Any] = json.loads(done.stdout)
            return told
    raise RuntimeError(f"cargo metadata failed:\n{done.stderr[-2000:]}")


def _linked(nodes: dict[str, Any], packages: dict[str, Any], root: str) -> set[str]:
    """What ends up in the library: neither what build scripts and tests need, nor macros and what these need."""
    seen: set[str] = set()
    ahead = [root]
    while ahead:
        identity = ahead.pop()
        if identity in seen or any("proc-macro" in target["kind"] for target in packages[identity]["targets"]):
            continue
        seen.add(identity)
        ahead += [of["pkg"] for of in nodes[identity]["deps"] if any(kind["kind"] is None for kind in of["dep_kinds"])]
    return seen


def packages() -> list[Dependency]:
    """Those of requirements.lock, by name; this interpreter must have them installed.

    Raises:
        RuntimeError: One is not installed, or in another version.
    """
    locked = locked_packages()
    spelt = {canonicalize_name(name): name for name in locked}
    uses, extras = _uses(spelt), _extras(spelt)
    found = []
    for name, version in sorted(locked.items(), key=lambda pair: pair[0].lower()):
        try:
            of = installed.distribution(name)
        except installed.PackageNotFoundError:
            raise RuntimeError(f"{name} is locked, and not installed here") from None
        if of.version != version:
            raise RuntimeError(f"{name} {version} is locked, and {of.version} is installed here")
        needed = _needs(name, tuple(extras[canonicalize_name(name)]))
        needs = sorted(f"{spelt[need]}@{locked[spelt[need]]}" for need in needed if need in spelt)
        found.append(
            Dependency("pypi", name, version, licence_of(of.metadata), uses.get(name, DEVELOPMENT), tuple(needs))
        )
    return found


def _extras(names: Iterable[NormalizedName]) -> dict[NormalizedName, set[str]]:
    """The extras of each package that any other one asks for."""
    found: dict[NormalizedName, set[str]] = {name: set() for name in names}
    ahead = list(found)
    while ahead:
        name = ahead.pop()
        for need, extras in _needs(name, tuple(found[name])).items():
            if need in found and not found[need].issuperset(extras):
                found[need].update(extras)
                ahead.append(need)
    return found


def _uses(spelt: dict[NormalizedName, str]) -> dict[str, str]:
    """Name of a package -> the parts of Trails that need it: ``always``, or extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    parts = {"always": project["dependencies"], **project["optional-dependencies"]}
    found: dict[str, list[str]] = {}
    for part, lines in parts.items():
        if part not in _FOR_DEVELOPERS:
            for need in _closure(lines) & spelt.keys():
                found.setdefault(spelt[need], []).append(part)
    return {name: "always" if "always" in of else ", ".join(of) for name, of in found.items()}


def _closure(lines: Iterable[str]) -> set[NormalizedName]:
    """Everything that requirements need, however indirectly, where this interpreter has it installed."""
    seen: set[tuple[NormalizedName, tuple[str, ...]]] = set()
    ahead = [(canonicalize_name(of.name), tuple(sorted(of.extras))) for of in map(Requirement, lines)]
    while ahead:
        of = ahead.pop()
        if of not in seen:
            seen.add(of)
            ahead += [(name, extras) for name, extras in _needs(*of).items()]
    return {name for name, _ in seen}


def _needs(name: str, extras: tuple[str, ...]) -> dict[NormalizedName, tuple[str, ...]]:
    """What a package needs on this machine -> with which extras; nothing of one that is not installed."""
    try:
        lines = installed.distribution(name).requires or []
    except installed.PackageNotFoundError:
        return {}
    found: dict[NormalizedName, tuple[str, ...]] = {}
    for of in map(Requirement, lines):
        if of.marker is None or any(of.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            found[canonicalize_name(of.name)] = tuple(sorted(of.extras))
    return found


def licence_of(metadata: Any) -> str:
    """What a package's metadata say: the expression, else the field of old, else the classifier."""
    if expression := metadata.get("License-Expression"):
        return str(expression)
    # A field may hold the whole text of a licence, below its name.
    field = (metadata.get("License") or "").strip().partition("\n")[0]
    classified = [line.split(" :: ")[-1] for line in metadata.get_all("Classifier") or [] if line.startswith("License")]
    for said in (field, *classified):
        licence: str = _SPELT.get(said, said)
        if licence in _SPELT.values() or re.fullmatch(
            rf"(?:{_SPDX.pattern})(?: (?:AND|OR) (?:{_SPDX.pattern}))*", licence
        ):
            return licence
    return UNSAID
