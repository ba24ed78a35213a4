"""The operating system's user that a PostgreSQL server runs as."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SERVER_USER = "trails"
# The caller's own libpq, Python and Rust settings must not reach the backends.
_FOREIGN = ("PG", "PYTHON", "RUST_", "VIRTUAL_ENV")


class Account:
    """Root's servers run as the system user `trails`, made by tools/setup.sh; other users' as themselves."""

    def __init__(self) -> None:
        self._entry = pwd.getpwnam(SERVER_USER) if os.geteuid() == 0 else None

    def give(self, path: Path) -> None:
        """Makes the server's user the owner."""
        if self._entry:
            os.chown(path, self._entry.pw_uid, self._entry.pw_gid)

    def write(self, path: Path, text: str) -> None:
        """Writes a file that only the server's user can read."""
        path.touch(mode=0o600)
        path.write_text(text)
        path.chmod(0o600)
        self.give(path)

    def run(self, command: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
        """`subprocess.run` as the server's user, with a clean environment, from `/`."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        if self._entry:
            options |= {"user": self._entry.pw_uid, "group": self._entry.pw_gid, "extra_groups": []}
            environment["HOME"] = "/nonexistent"
        options |= {"cwd": "/", "env": environment, "stdin": subprocess.DEVNULL, "umask": 0o077}
        return subprocess.run(list(command), check=False, **options)
