"""Starts a stream of the data service and shows how it comes: ``python -m trails.data_service_trigger``."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from trails.cli import BAD_INPUT, FAILED, INTERRUPTED, complain
from trails.errors import InvalidInput, TrailsError, UnusableData
from trails.service.command import count

_LINE_SECONDS = 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status, as `trails.cli.main` does."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except (InvalidInput, UnusableData) as error:
        return complain(error, BAD_INPUT)
    except (TrailsError, OSError) as error:
        return complain(error, FAILED)
    except KeyboardInterrupt:
        print("trails: interrupted", file=sys.stderr)
        return INTERRUPTED


def _run(options: argparse.Namespace) -> int:
    from trails.service.client import DataClient, request_for

    ca = options.tls_ca.read_bytes() if options.tls_ca else None
    with DataClient(options.connect, token_file=options.token_file, ca=ca) as client:
        if options.status:
            print(json.dumps(client.status(), indent=1))
            return 0
        if options.table is None:
            raise InvalidInput("which table?", hint="Give --table, or --status.")
        began = said = time.monotonic()
        first: float | None = None
        rows = batches = size = 0
        names = None if options.columns is None else options.columns.split(",")
        request = request_for(
            options.table, names, options.batch, options.epochs, options.shuffle, options.seed, options.fresh
        )
        for batch, about in client.record_batches(request):
            now = time.monotonic()
            first = now - began if first is None else first
            rows, size = rows + batch.num_rows, size + batch.nbytes
            batches += not about.get("end")
            if about.get("end") or now - said >= _LINE_SECONDS:
                said = now
                print(
                    f"epoch {about['epoch'] + 1} of {options.epochs}: {about['first'] + batch.num_rows:,} rows; "
                    f"in all {batches:,} batches, {rows / max(now - began, 1e-9):,.0f} rows a second",
                    file=sys.stderr,
                    flush=True,
                )
        seconds = time.monotonic() - began
    print(f"{rows} rows\t{batches} batches\t{size} bytes\t{seconds:.3f} s\tfirst batch after {first or 0.0:.3f} s")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m trails.data_service_trigger",
        description="Starts a stream of the data service, reads it to its end, and shows how it comes.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="""\
Progress goes to standard error, one line of totals to standard output.

exit status: 0; 2 bad arguments, no such table or column; 1 any other error; 130 interrupted

example:
  python -m trails.data_service_trigger --connect grpc://127.0.0.1:8815 --token-file token --table frappe_train \\
      --columns user,item,label --batch 4096 --epochs 3 --shuffle 65536
""",
    )
    parser.add_argument("--connect", required=True, metavar="URI", help="such as grpc://127.0.0.1:8815")
    parser.add_argument("--token-file", type=Path, metavar="F", help="the token (default: $TRAILS_SERVICE_TOKEN)")
    parser.add_argument("--tls-ca", type=Path, metavar="F", help="PEM certificates that the service's is checked with")
    parser.add_argument("--table", metavar="T", help="a table or view, as in SQL")
    parser.add_argument("--columns", metavar="A,B", help="columns in the order wanted (default: all)")
    parser.add_argument("--batch", type=count, default=1024, metavar="N", help="rows of a batch (default: 1024)")
    parser.add_argument("--epochs", type=count, default=1, metavar="N", help="how often the rows come (default: 1)")
    parser.add_argument(
        "--shuffle", type=int, default=0, metavar="N", help="rows of the buffer that is shuffled (default: 0, none)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the shuffling (default: 0)")
    parser.add_argument("--fresh", action="store_true", help="have the table read anew")
    parser.add_argument("--status", action="store_true", help="show what the service holds, as JSON, and no more")
    return parser


if __name__ == "__main__":
    sys.exit(main())
