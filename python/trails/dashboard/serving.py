"""The life of the dashboard: a socket, an address that is printed, and an end in order."""

from __future__ import annotations

import asyncio
import ipaddress
import signal
import socket
import sys
from collections.abc import Collection
from types import FrameType

import uvicorn

from trails.dashboard.app import make_app
from trails.dashboard.database import Database
from trails.dashboard.guard import Guard
from trails.errors import TrailsError


def serve(
    dsn: str,
    host: str,
    port: int,
    names: Collection[str] = (),
    actions: bool = False,
    timeout: float = 30.0,
) -> None:
    """Serve pages until SIGINT or SIGTERM; the address is printed once pages can be asked for.

    Args:
        dsn: A libpq connection string or URI.
        host: The address to listen at.
        port: 0: a free one.
        names: Host names that browsers may ask for; see `Guard`.
        actions: Whether pages have buttons that stop and cancel runs.
        timeout: Seconds that one statement may take.

    Raises:
        DatabaseError: The database cannot be reached.
        TrailsError: The address cannot be listened at.
    """
    database = Database(dsn, timeout)
    database.rows("SELECT 1 AS one")
    with _listening(host, port) as listener:
        bound = listener.getsockname()[1]
        guard = Guard(make_app(database, actions), bound, [*names, host])
        # uvicorn raises a signal once more after its own end, for whoever handled it before.
        for ending in (signal.SIGINT, signal.SIGTERM):
            signal.signal(ending, _ignore)
        if not _is_loopback(host):
            print(
                "dashboard: warning: other machines can reach this address, and everybody on the way can read the "
                "token and what pages show; a tunnel (ssh -L) to the loopback address is safer",
                file=sys.stderr,
            )
        print(f"http://{_named(host)}:{bound}/?token={guard.token}", flush=True)
        # An access log would hold the token.
        config = uvicorn.Config(
            guard, log_level="warning", access_log=False, lifespan="off", server_header=False, proxy_headers=False,
            timeout_graceful_shutdown=3,
        )  # fmt: skip
        _Server(config, database).run(sockets=[listener])
    # A server that does not answer keeps the process for some seconds; the next signal does not wait for it.
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.SIG_DFL)


class _Server(uvicorn.Server):
    """One that ends what the database does for pages before it waits for them."""

    def __init__(self, config: uvicorn.Config, database: Database) -> None:
        super().__init__(config)
        self._database = database

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Called after a signal."""
        # In no thread of those that pages have, all of which may wait for the database.
        await asyncio.to_thread(self._database.close)
        await super().shutdown(sockets)


def _ignore(number: int, frame: FrameType | None) -> None:
    pass


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        raise TrailsError(
            f"{host}:{port} cannot be listened at: {error.strerror}", hint="--port 0 takes a free port."
        ) from error
    return listener


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _named(host: str) -> str:
    """The host as an address of a page has it."""
    if host in ("0.0.0.0", "::", ""):
        return "127.0.0.1" if host != "::" else "[::1]"
    return f"[{host}]" if ":" in host else host
