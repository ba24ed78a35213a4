"""``python -m trails dashboard``: its arguments."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from trails.errors import TrailsError

SUMMARY = "show runs and models of a database in a browser"


def declare(command: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    command.epilog = """\
The address to open, which holds a token that is new every time, is printed on standard output. It ends on
SIGINT and SIGTERM.

Pages show what the role of --dsn may read: a role that is granted trails_user sees its own runs and models,
a superuser everybody's. Nothing is written: transactions are read-only. With --actions, pages have buttons
that stop or cancel a run of that role.

exit status: 0; 2 bad arguments; 1 any other error

examples:
  python -m trails dashboard --dsn postgresql://reader@localhost/shop
  python -m trails dashboard --port 0 --actions
"""
    command.add_argument("--dsn", metavar="URI", help="the database (default: $TRAILS_DSN, else libpq's environment)")
    command.add_argument("--host", default="127.0.0.1", help="the address to listen at (default: %(default)s)")
    command.add_argument("--port", type=port, default=8816, metavar="N", help="0: a free one (default: %(default)s)")
    command.add_argument(
        "--allow-name", action="append", default=[], metavar="NAME",
        help="a host name that browsers may ask for, beside localhost and addresses in numbers; may be repeated",
    )  # fmt: skip
    command.add_argument("--actions", action="store_true", help="let pages stop and cancel runs")
    command.add_argument(
        "--timeout", type=seconds, default=30.0, metavar="S", help="of one statement, in seconds (default: 30)"
    )


def run(options: argparse.Namespace) -> None:
    """Serve pages until a signal comes."""
    if options.dsn is not None:
        hide(sys.orig_argv, options.dsn)
    try:
        from trails.dashboard.serving import serve
    except ImportError as error:
        raise TrailsError(
            f"the dashboard needs the package {error.name}",
            hint="Install it: python -m pip install 'trails[dashboard]'",
        ) from None
    dsn = os.environ.get("TRAILS_DSN", "") if options.dsn is None else options.dsn
    serve(
        dsn,
        options.host,
        options.port,
        names=options.allow_name,
        actions=options.actions,
        timeout=options.timeout,
    )


def hide(arguments: Sequence[str], dsn: str) -> None:
    """Begin anew without the connection string among the arguments, where every user of the machine can read it.

    It goes on in the environment, which is this user's own.

    Args:
        arguments: Of the process, the interpreter's included. Nothing happens if they hold no ``--dsn``, or another
            one: then they are a program's that calls this as a function.
        dsn: The connection string.
    """
    kept, found = [], None
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = argument.partition("=")
        # argparse takes the beginnings of a name as well.
        if len(name) > 2 and "--dsn".startswith(name):
            found = value if equals else next(rest, None)
        else:
            kept.append(argument)
    if found == dsn:
        os.execve(sys.executable, [sys.executable, *kept[1:]], {**os.environ, "TRAILS_DSN": dsn})


def port(text: str) -> int:
    """0 to 65535; for argparse."""
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is no port")
    return int(text)


def seconds(text: str) -> float:
    """A number of seconds, from 0.1 to a day; for argparse."""
    try:
        if 0.1 <= (value := float(text)) <= 86400:
            return value
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 0.1 to 86400")
