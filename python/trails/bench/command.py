"""``python -m trails bench``: builds recorded benchmarks."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from trails.bench.folder import tables
from trails.bench.protocol import PROTOCOLS, get_protocol

SUMMARY = "build a recorded benchmark: learning curves of many architectures"


def declare(command: argparse.ArgumentParser) -> None:
    """Its arguments."""
    command.epilog = """\
A benchmark is a folder of Parquet tables. `train` trains what is missing, on every core, and keeps each
group of trainings durably: killed at any moment it loses at most the group in hand, and a second start goes
on. A larger --architectures goes on from a smaller one. Shards may be trained on several machines, each into
a folder of its own, and put together with `merge`.

exit status: 0; 2 bad arguments or data; 1 any other error

examples:
  nice python -m trails bench train --dataset frappe --architectures 1000
  python -m trails bench train --dataset criteo --architectures 2000 --shard 1/2 --folder shard1
  python -m trails bench merge --dataset criteo shard1/criteo shard2/criteo
"""
    actions = command.add_subparsers(title="actions", metavar="ACTION", required=True)
    train = actions.add_parser("train", help="train what is missing")
    train.add_argument("--architectures", type=int, default=1000, metavar="N", help="of the sample (default: 1000)")
    train.add_argument("--seeds", type=int, default=3, help="of each of the first 100 architectures (default: 3)")
    train.add_argument("--shard", default="1/1", metavar="I/N", help="the part to train (default: 1/1)")
    train.add_argument("--processes", type=int, default=0, help="that train, each on one core (default: all cores)")
    train.set_defaults(act=_train)
    merge = actions.add_parser("merge", help="put what shards recorded into one benchmark, and its parts into tables")
    merge.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="of shards")
    merge.set_defaults(act=_merge)
    for action in (train, merge):
        action.add_argument("--dataset", required=True, metavar="NAME", help=", ".join(PROTOCOLS))
        action.add_argument(
            "--folder",
            type=Path,
            default=tables(),
            help="holds a folder for each dataset (default: %(default)s)",
        )


def run(options: argparse.Namespace) -> None:
    """Do what was asked."""
    options.act(options)


def _train(options: argparse.Namespace) -> None:
    from trails.bench.build import build
    from trails.bench.plan import Shard
    from trails.bench.store import Store

    protocol = get_protocol(options.dataset)
    trained = build(
        protocol,
        options.folder / options.dataset,
        options.architectures,
        seeds=tuple(range(1, options.seeds + 1)),
        shard=Shard.parse(options.shard),
        processes=options.processes,
        say=_say,
    )
    print(f"{trained} trained; {len(Store(options.folder / options.dataset).done())} recorded")


def _merge(options: argparse.Namespace) -> None:
    from trails.bench.build import compact
    from trails.bench.store import Store

    protocol = get_protocol(options.dataset)
    store = Store(options.folder / options.dataset)
    for folder in options.folders:
        store.take(Store(folder))
    print(f"{compact(protocol, store.folder)} epochs recorded")


def _say(text: str) -> None:
    end = "\r" if sys.stderr.isatty() else "\n"
    print(f"{text}{' ' * 10 if end == os.linesep else ''}", end=end, file=sys.stderr, flush=True)
