"""The operating system's user that a PostgreSQL server runs as."""

from __future__ import annotations

import os
import pwd
from collections.abc import Sequence
from pathlib import Path

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
            os.chown(path, self._entry.pw_uid, self._entry.pw_gid, follow_symlinks=False)

    def let_through(self, directory: Path) -> None:
        """Has the server's user reach what lies in a directory of root's, without seeing what else is there."""
        if self._entry:
            directory.chmod(0o711)

    def write(self, path: Path, text: str) -> None:
        """Writes a file that only the server's user can read."""
        path.touch(mode=0o600)
        path.write_text(text)
        path.chmod(0o600)
        self.give(path)

    def command(self, command: Sequence[str]) -> list[str]:
        """The command line that runs a program as the server's user, in the same process, with a clean environment.

        It runs in `/`, in a session of its own, so that Ctrl-C does not reach it, and reads nothing.
        """
        line = ["sh", "-c", 'exec "$@" </dev/null', "sh", "setsid", "env", "--chdir=/"]
        line += [f"--unset={name}" for name in os.environ if name.startswith(_FOREIGN)]
        if self._entry:
            line += ["HOME=/nonexistent", "setpriv", f"--reuid={self._entry.pw_uid}", f"--regid={self._entry.pw_gid}"]
            line += ["--clear-groups", "--"]
        return [*line, *command]
