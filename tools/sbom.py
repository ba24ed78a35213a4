"""A bill of materials in CycloneDX 1.6 (JSON): what Trails is made of and what it needs, with licences and digests."""

from __future__ import annotations

import json
import re
import tomllib
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from tools.dependencies import DEVELOPMENT, LIBRARY, ROOT, UNSAID, Dependency
from tools.licences import TOLERATED

_SPACE = uuid.UUID("5d1f3a0c-6a57-4f0e-9c5e-0c8a3f5f7a11")
"""Of the serial numbers: the same materials have the same one."""

_PLAIN = re.compile(r"[\w.+-]+")


def bill(crates: Iterable[Dependency], packages: Iterable[Dependency], seconds: int) -> str:
    """The bill as JSON.

    Args:
        crates: Of the extension.
        packages: Of Python.
        seconds: When the sources were last changed, since 1970.
    """
    everything = [*crates, *packages]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    product = {
        "type": "application",
        "bom-ref": "trails",
        "name": project["name"],
        "version": project["version"],
        "description": project["description"],
        "licenses": [{"license": {"id": project["license"]}}],
    }
    body = {
        "metadata": {
            "timestamp": datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": product,
        },
        "components": [_component(of) for of in everything],
        "dependencies": [
            {"ref": "trails", "dependsOn": sorted(_url(of) for of in everything)},
            *({"ref": _url(of), "dependsOn": _references(of, everything)} for of in everything),
        ],
    }
    serial = uuid.uuid5(_SPACE, json.dumps(body, sort_keys=True))
    head = {"bomFormat": "CycloneDX", "specVersion": "1.6", "serialNumber": f"urn:uuid:{serial}", "version": 1}
    return json.dumps({**head, **body}, indent=1) + "\n"


def _component(of: Dependency) -> dict[str, Any]:
    made: dict[str, Any] = {
        "type": "library",
        "bom-ref": _url(of),
        "name": of.name,
        "version": of.version,
        "purl": _url(of),
        "scope": "required" if of.use in (LIBRARY, "always") else "excluded" if of.use == DEVELOPMENT else "optional",
        "properties": [{"name": "trails:use", "value": of.use}],
    }
    if of.sha256 is not None:
        made["hashes"] = [{"alg": "SHA-256", "content": of.sha256}]
    if of.licence != UNSAID:
        made["licenses"] = [_licence(of.licence)]
    return made


def _licence(licence: str) -> dict[str, Any]:
    """An expression may hold names of SPDX alone; what is none is a name."""
    if licence in TOLERATED and not licence.startswith("MPL"):
        return {"license": {"name": licence}}
    return {"license": {"id": licence}} if _PLAIN.fullmatch(licence) else {"expression": licence}


def _references(of: Dependency, everything: list[Dependency]) -> list[str]:
    own = {other.reference: _url(other) for other in everything if other.ecosystem == of.ecosystem}
    return sorted(own[need] for need in of.needs if need in own)


def _url(of: Dependency) -> str:
    name = re.sub(r"[-_.]+", "-", of.name).lower() if of.ecosystem == "pypi" else of.name
    return f"pkg:{of.ecosystem}/{name}@{of.version}"
