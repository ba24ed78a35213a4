"""The command line: ``python -m trails COMMAND``; the command ``select`` may be left out.

A command is a pair of functions, one that declares its arguments and one that runs it, listed in COMMANDS.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from trails import __version__, extras, select_command
from trails.bench import command as bench
from trails.dashboard import command as dashboard
from trails.errors import InvalidInput, TrailsError, UnusableData
from trails.service import command as data_service

FAILED = 1
BAD_INPUT = 2
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0; 2 for bad input (arguments, a malformed line); 1 for any other error; 130 when interrupted. Errors
        are one line on standard error.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and given[0].startswith("--") and given[0].partition("=")[0] not in ("--help", "--version"):
        given.insert(0, "select")
    options = _parser().parse_args(given)
    try:
        options.run(options)
        sys.stdout.flush()
    except (InvalidInput, UnusableData) as error:
        return complain(error, BAD_INPUT)
    except (TrailsError, OSError) as error:
        return complain(error, FAILED)
    except ImportError as error:
        if (missing := extras.missing(error, "bench" if options.run is bench.run else None)) is None:
            raise
        return complain(missing, FAILED)
    except KeyboardInterrupt:
        print("trails: interrupted, nothing was changed", file=sys.stderr)
        return INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trails", description="Model selection for a table, in PostgreSQL and outside, within a time budget."
    )
    parser.add_argument("--version", action="version", version=f"trails {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, (summary, declare, run) in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        declare(command)
        command.set_defaults(run=run)
    return parser


def complain(error: Exception, code: int) -> int:
    """Say on one line of standard error what is wrong; returns ``code``."""
    if isinstance(error, TrailsError):
        text = "; ".join(part.rstrip(".") for part in (error.message, error.detail, error.hint) if part)
    else:
        text = str(error)
    print(f"trails: error: {' '.join(text.split())}", file=sys.stderr)
    return code


def _declare_load(command: argparse.ArgumentParser) -> None:
    command.epilog = """\
The tables are NAME_train, NAME_valid and NAME_test. All three are loaded in one transaction: other
sessions see the old rows until it commits, and a malformed line (reported as file:line: reason) or
any other error leaves everything as it was. A table that already has the same columns keeps its
views, rights and indexes.

The data comes from --dir, else TRAILS_DATA, else ../shared/datasets beside the project, else a
download from the dataset's public home (kept below TRAILS_HOME). With --substitute, a dataset that is
nowhere to be had is replaced by a small real table that scikit-learn ships, loaded as breast_cancer_*.

exit status: 0; 2 bad arguments or data; 1 any other error

examples:
  python -m trails load frappe --dsn postgresql://localhost/trails
  python -m trails load mine --dir /data/mine --schema staging --as-text
"""
    command.add_argument(
        "dataset",
        metavar="NAME",
        help="frappe, uci_diabetes, criteo or breast_cancer; with --dir or TRAILS_DATA any other",
    )
    command.add_argument(
        "--dir",
        type=Path,
        metavar="D",
        help="the folder that holds train.libsvm, valid.libsvm, test.libsvm (plain, .xz or .gz) and "
        "fields.tsv, or holds them in a folder NAME",
    )
    command.add_argument(
        "--dsn",
        metavar="URI",
        help="the database (default: $TRAILS_DSN, else libpq's environment such as PGHOST)",
    )
    command.add_argument("--schema", metavar="S", help="an existing schema (default: the first of the search_path)")
    command.add_argument(
        "--as-text",
        action="store_true",
        help="load the published form: TEXT columns col1 to colN that hold id:value, instead of one "
        "integer column per field",
    )
    command.add_argument(
        "--substitute",
        action="store_true",
        help="load breast_cancer instead of a dataset that is nowhere to be had (default: fail)",
    )


def _run_load(options: argparse.Namespace) -> None:
    from trails.loading import progress
    from trails.loading.copy import load
    from trails.loading.sources import find_dataset

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    dataset = find_dataset(options.dataset, options.dir, substitute=options.substitute, say=say)
    say(f"{dataset.name}: from {dataset.source}")
    shown = progress.for_standard_error()
    try:
        tables = load(dataset, options.dsn, schema=options.schema, as_text=options.as_text, progress=shown)
    finally:
        if isinstance(shown, progress.Bar):
            shown.close()
    for table in tables:
        print(f"{table.schema}.{table.name}\t{table.rows}\t{table.action}")


Command = tuple[str, Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], None]]

COMMANDS: dict[str, Command] = {
    "load": ("load a dataset into PostgreSQL tables", _declare_load, _run_load),
    "select": (select_command.SUMMARY, select_command.declare, select_command.run),
    "bench": (bench.SUMMARY, bench.declare, bench.run),
    "dashboard": (dashboard.SUMMARY, dashboard.declare, dashboard.run),
    "data-service": (data_service.SUMMARY, data_service.declare, data_service.run),
}
