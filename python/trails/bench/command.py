"""``python -m trails bench``: builds recorded benchmarks."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from trails.bench.folder import tables
from trails.bench.image import command as image_command
from trails.bench.protocol import PROTOCOLS, get_protocol
from trails.bench.relations import SCHEMA
from trails.errors import InvalidInput, TrailsError

_INTERRUPTED = 130
"""Exit status after Ctrl-C, as the other commands have it."""

SUMMARY = "build a recorded benchmark: learning curves of many architectures"


def declare(command: argparse.ArgumentParser) -> None:
    """Its arguments."""
    command.epilog = f"""\
A benchmark is a folder of Parquet tables. `train` trains what is missing, on every core, and keeps each
group of trainings durably: killed at any moment it loses at most the group in hand, and a second start goes
on. A larger --architectures goes on from a smaller one. Shards may be trained on several machines, each into
a folder of its own, and put together with `merge`. `score` does the same for training-free metrics of what is
recorded, `verify` repeats some trainings and scores, and `time` is for benchmarks that were trained in stacks.
`convert`, `score-cells`, `time-cells` and `explore` are for cells of pictures, whose trainings others recorded.

exit status: 0; 2 bad arguments or data; 1 any other error

examples:
  nice python -m trails bench train --dataset frappe --architectures 1000
  python -m trails bench train --dataset criteo --architectures 2000 --shard 1/2 --folder shard1
  python -m trails bench score --dataset frappe
  python -m trails bench verify --dataset frappe --architectures 5
  python -m trails bench merge --dataset criteo shard1/criteo shard2/criteo
  python -m trails bench load --dataset all --dsn postgresql://localhost/study
{image_command.EXAMPLES}"""
    actions = command.add_subparsers(title="actions", metavar="ACTION", required=True)
    train = actions.add_parser("train", help="train what is missing")
    train.add_argument("--architectures", type=int, default=1000, metavar="N", help="of the sample (default: 1000)")
    train.add_argument("--seeds", type=int, default=3, help="of each of the first 100 architectures (default: 3)")
    train.add_argument("--shard", default="1/1", metavar="I/N", help="the part to train (default: 1/1)")
    train.add_argument("--processes", type=int, default=0, help="that train, each on one core (default: all cores)")
    train.add_argument("--device", default="cpu", help="cpu, cuda, or several such as cuda:0,cuda:1 (default: cpu)")
    train.add_argument(
        "--stacked", type=int, default=0, metavar="N", help="trained together at most (default: 1, on a GPU many)"
    )
    train.add_argument("--ray-address", metavar="HOST:PORT", help="of a Ray cluster that trains")
    train.add_argument("--ray-gpus", type=float, default=0.0, help="that a training reserves there (default: 0)")
    train.set_defaults(act=_train)
    score = actions.add_parser("score", help="score what is recorded by training-free metrics, where that is missing")
    score.add_argument("--tfmem", metavar="NAMES", help="metrics, joined by commas (default: all)")
    score.add_argument("--batch-seeds", type=int, default=3, help="batches for metrics that read data (default: 3)")
    score.add_argument("--processes", type=int, default=0, help="that score, each on one core (default: all cores)")
    score.add_argument(
        "--whole-space",
        action="store_true",
        help="also keep the scores of all architectures of the space, some megabytes",
    )
    score.set_defaults(act=_score)
    merge = actions.add_parser("merge", help="put what shards recorded into one benchmark, and its parts into tables")
    merge.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="of shards")
    merge.set_defaults(act=_merge)
    verify = actions.add_parser("verify", help="train and score some once more, and compare")
    verify.add_argument("--architectures", type=int, default=20, metavar="N", help="to repeat (default: 20)")
    verify.add_argument("--seed", type=int, default=0, help="that draws them (default: 0)")
    verify.add_argument("--tolerance", type=float, help="of AUCs (default: as is usual for these machines)")
    verify.add_argument("--device", default="cpu", help="that repeats: cpu, or cuda to compare a GPU (default: cpu)")
    verify.add_argument("--processes", type=int, default=0, help="that train, each on one core (default: all cores)")
    verify.set_defaults(act=_verify)
    timed = actions.add_parser("time", help="time some alone, where trainings were stacked, and estimate the others")
    timed.add_argument("--architectures", type=int, default=200, metavar="N", help="of the sample (default: 200)")
    timed.add_argument("--device", default="cpu", help="cpu, cuda, or several such as cuda:0,cuda:1 (default: cpu)")
    timed.add_argument("--processes", type=int, default=0, help="that train, each on one core (default: all cores)")
    timed.set_defaults(act=_time)
    load = actions.add_parser("load", help="put benchmarks into PostgreSQL, in place of what is there of them")
    load.add_argument("--dsn", help="connection string or URI (default: $TRAILS_DSN, else libpq's environment)")
    load.add_argument("--schema", default=SCHEMA, help="of the tables; made if needed (default: %(default)s)")
    load.set_defaults(act=_load)
    for action in (train, score, merge, verify, timed, load):
        action.add_argument(
            "--dataset",
            required=True,
            metavar="NAME",
            help=", ".join([*PROTOCOLS, *(["all"] if action is load else [])]),
        )
        action.add_argument(
            "--folder",
            type=Path,
            default=tables(),
            help="holds a folder for each dataset (default: %(default)s)",
        )
    image_command.declare(actions, _say)


def run(options: argparse.Namespace) -> None:
    """Do what was asked."""
    try:
        options.act(options)
    except KeyboardInterrupt:
        print("trails: interrupted; what was finished before is kept", file=sys.stderr)
        raise SystemExit(_INTERRUPTED) from None


def _train(options: argparse.Namespace) -> None:
    from trails.bench.building.build import build
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
        devices=options.device,
        stacked=options.stacked,
        ray_address=options.ray_address,
        ray_gpus=options.ray_gpus,
        say=_say,
    )
    print(f"{trained} trained; {len(Store(options.folder / options.dataset).done())} recorded")


def _score(options: argparse.Namespace) -> None:
    from trails.bench.building.score_all import score
    from trails.bench.building.score_one import SCORED
    from trails.tfmem import parse_tfmems

    if options.batch_seeds < 1:
        raise InvalidInput(f"--batch-seeds must be at least 1, not {options.batch_seeds}")
    computed = score(
        get_protocol(options.dataset),
        options.folder / options.dataset,
        tfmems=SCORED if options.tfmem is None else parse_tfmems(options.tfmem),
        batch_seeds=range(1, options.batch_seeds + 1),
        processes=options.processes,
        keep_spaces=options.whole_space,
        say=_say,
    )
    print(f"{computed} scores computed")


def _merge(options: argparse.Namespace) -> None:
    from trails.bench.building.build import compact
    from trails.bench.store import Store

    protocol = get_protocol(options.dataset)
    store = Store(options.folder / options.dataset)
    for folder in options.folders:
        store.take(Store(folder))
    print(f"{compact(protocol, store.folder)} epochs recorded")


def _load(options: argparse.Namespace) -> None:
    from trails.bench.load import load

    if options.dataset == "all":
        # Of all those that there are; each in a transaction of its own.
        chosen = [options.folder / name for name in PROTOCOLS if (options.folder / name / "setting.json").exists()]
    else:
        chosen = [options.folder / get_protocol(options.dataset).dataset]
    if not chosen:
        raise InvalidInput(f"{options.folder} holds no benchmark", hint="Record one: python -m trails bench train.")
    for folder in chosen:
        rows = load(folder, options.dsn, schema=options.schema)
        print(f"{folder.name}: {', '.join(f'{count:,} {name}' for name, count in rows.items())}")


def _verify(options: argparse.Namespace) -> None:
    from trails.bench.building.verify import verify

    folder = options.folder / options.dataset
    protocol = get_protocol(options.dataset)
    done = verify(
        protocol,
        folder,
        options.architectures,
        seed=options.seed,
        processes=options.processes,
        devices=options.device,
        say=_say,
    )
    for one in done:
        where = (
            f"{'the same' if one.same_machine else 'another'} kind of machine{', in a stack' if one.stacked else ''}"
        )
        print(
            f"{one.architecture} seed {one.seed}: AUC {one.auc:.2g}, {one.scored} scores {one.scores:.2g} off, "
            f"recorded on {where}{'' if one.sound(options.tolerance) else ': TOO FAR'}"
        )
    far = sum(not one.sound(options.tolerance) for one in done)
    if far:
        raise TrailsError(
            f"{far} of {len(done)} repeated trainings are not what {folder} holds",
            hint="Another version of torch or another processor may be all there is to it: see the lines above.",
        )
    print(f"{len(done)} of {len(done)} are as recorded")


def _time(options: argparse.Namespace) -> None:
    from trails.bench.building.timing import time_alone
    from trails.bench.table import Benchmark

    folder = options.folder / options.dataset
    protocol = get_protocol(options.dataset)
    now = time_alone(
        protocol, folder, options.architectures, processes=options.processes, devices=options.device, say=_say
    )
    estimate = Benchmark(folder).estimate
    assert estimate is not None
    print(
        f"{now} timed; an epoch is estimated from {estimate.timed} with a median error of {estimate.error:.1%}, "
        f"below {estimate.error90:.1%} for nine of ten"
    )


def _say(text: str) -> None:
    """Tell a person: on a terminal each line takes the place of the one before."""
    if sys.stderr.isatty():
        print(f"\r{text}\x1b[K\r", end="", file=sys.stderr, flush=True)
    else:
        print(text, file=sys.stderr, flush=True)
