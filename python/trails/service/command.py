"""``python -m trails data-service``: its arguments and its life."""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import sys
from pathlib import Path

from trails.errors import InvalidInput

SUMMARY = "serve tables as Arrow Flight streams of batches"

_ENDING = (signal.SIGINT, signal.SIGTERM)

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def declare(command: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    command.epilog = """\
The address is printed on standard output when the service listens; what it does, on standard error.
It ends, and removes its files, on SIGINT and SIGTERM.

Every call must carry the token. It is read from --token-file, else from TRAILS_SERVICE_TOKEN; without
either a new one is written to the file "token" of the cache, whose name is printed: only the user who
runs the service can read it.

Whoever has the token can read what the role of --dsn can read, and nothing can be written: give the
service a role that may SELECT the tables in question and no more.

A table is read once for all consumers that come within --max-age seconds, or as long as nothing in the
database has changed. Rows wait in files in --cache-dir, at most --cache-bytes of them: then the reader
waits for the slowest consumer, and PostgreSQL for the reader. A consumer that takes nothing for --stall
seconds, while others wait for it, is cut off.

exit status: 0; 2 bad arguments; 1 any other error

examples:
  python -m trails data-service --dsn postgresql://reader@localhost/trails --token-file token
  python -m trails data-service --listen 0.0.0.0:8815 --tls-cert cert.pem --tls-key key.pem --token-file token
  python -m trails.data_service_trigger --connect grpc://127.0.0.1:8815 --table frappe_train --token-file token
"""
    command.add_argument("--dsn", metavar="URI", help="the database (default: $TRAILS_DSN, else libpq's environment)")
    command.add_argument(
        "--listen", default="127.0.0.1:8815", metavar="HOST:PORT", help="port 0: a free one (default: %(default)s)"
    )
    command.add_argument("--token-file", type=Path, metavar="F", help="a file that holds the token")
    command.add_argument("--tls-cert", type=Path, metavar="F", help="PEM certificate chain: serve with TLS")
    command.add_argument("--tls-key", type=Path, metavar="F", help="PEM private key of the certificate")
    command.add_argument("--insecure", action="store_true", help="serve an address other than the loopback without TLS")
    command.add_argument(
        "--cache-dir", type=Path, metavar="D", help="where rows wait (default: the system's temporary directory)"
    )
    command.add_argument(
        "--cache-bytes", type=size, default=size("4G"), metavar="N", help="how much of them, such as 512M (default: 4G)"
    )
    command.add_argument(
        "--max-age", type=seconds, default=60.0, metavar="S", help="how old rows may be for a consumer that comes "
        "after the database has changed, in seconds (default: 60)"
    )  # fmt: skip
    command.add_argument("--stall", type=seconds, default=60.0, metavar="S", help="see above, in seconds (default: 60)")
    command.add_argument(
        "--consumers", type=count, default=64, metavar="N", help="streams at a time, at most (default: %(default)s)"
    )


def run(options: argparse.Namespace) -> None:
    """Serve until a signal comes."""
    # Blocked in every thread that starts from here on, and waited for by this one: a handler would run in it too, but
    # nothing would wake it if the kernel gave the signal to a thread of gRPC's.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        _serve(options)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(options: argparse.Namespace) -> None:
    from trails.service.server import DataService
    from trails.service.tokens import find_token

    def say(text: str) -> None:
        print(f"data-service: {text}", file=sys.stderr, flush=True)

    host, port = address(options.listen)
    token = find_token(None, options.token_file)
    service = DataService(
        os.environ.get("TRAILS_DSN", "") if options.dsn is None else options.dsn,
        token or (made := secrets.token_urlsafe(32)),
        host,
        port,
        certificate=certificate(options.tls_cert, options.tls_key),
        insecure=options.insecure,
        cache_dir=options.cache_dir,
        cache_bytes=options.cache_bytes,
        max_age=options.max_age,
        stall=options.stall,
        consumers=options.consumers,
        say=say,
    )
    with service:
        if token is None:
            written = service.folder / "token"
            written.touch(0o600)
            written.write_text(made + "\n")
            say(f"the token is in {written}")
        if options.insecure and service.uri.startswith("grpc://"):
            say("without TLS: everybody on the way can read rows and token")
        print(service.uri, flush=True)
        signal.sigwait(_ENDING)
        say("ends")
    # A stream that its consumer does not read keeps a thread of gRPC's busy, for which the interpreter would wait.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def address(text: str) -> tuple[str, int]:
    """Host and port of ``host:port`` or ``[host]:port``.

    Raises:
        InvalidInput: Not of this form.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise InvalidInput(f"{text!r} is no address", hint="For instance 127.0.0.1:8815, or [::1]:8815.")
    return host.removeprefix("[").removesuffix("]"), int(port)


def certificate(chain: Path | None, key: Path | None) -> tuple[bytes, bytes] | None:
    """Certificate chain and key of two PEM files; None if neither is given.

    Raises:
        InvalidInput: One without the other, or a file that cannot be read.
    """
    if chain is None and key is None:
        return None
    if chain is None or key is None:
        raise InvalidInput("a certificate and its key belong together", hint="Give both --tls-cert and --tls-key.")
    try:
        return chain.read_bytes(), key.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{error.filename} cannot be read", error.strerror) from error


def size(text: str) -> int:
    """Bytes of ``512M`` and the like; for argparse."""
    number, unit = text[:-1], text[-1:].lower()
    if text.isdigit():
        number, unit = text, ""
    if not (number.isascii() and number.isdigit() and unit in _UNITS and int(number) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no size such as 512M or 4G")
    return int(number) * _UNITS[unit]


def seconds(text: str) -> float:
    """A number of seconds, not negative; for argparse."""
    try:
        if (value := float(text)) >= 0:
            return value
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")


def count(text: str) -> int:
    """A whole number of at least 1; for argparse."""
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)
