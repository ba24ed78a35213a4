"""``python -m trails bench convert``, ``score-cells``, ``time-cells``, ``explore``: recorded cells for pictures."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import get_args

from trails.bench import Pictures
from trails.bench.folder import tables
from trails.bench.relations import SCHEMA
from trails.errors import InvalidInput

EXAMPLES = """\
  python -m trails bench convert --dataset nasbench201 recordings/
  nice python -m trails bench score-cells --dataset nasbench201 --tfmem naswot+synflow
  nice python -m trails bench time-cells --dataset nasbench201
  python -m trails bench explore --dataset nasbench201 --tfmem jacflow
"""


def declare(actions: argparse._SubParsersAction[argparse.ArgumentParser], say: Callable[[str], None]) -> None:
    """Add them to the actions of ``bench``; ``say`` is told of progress."""
    convert = actions.add_parser("convert", help="make a benchmark of cells of what others recorded")
    convert.add_argument(
        "source",
        nargs="?",
        type=Path,
        metavar="SOURCE",
        help="a folder of extracts, or what the authors published (default: nasbench in $TRAILS_DATA)",
    )
    convert.set_defaults(act=_convert)
    scores = actions.add_parser("score-cells", help="score recorded cells on pictures, where that is missing")
    scores.add_argument(
        "--tfmem", default="naswot+synflow+expressflow+weight_norm", metavar="NAMES", help="(default: %(default)s)"
    )
    scores.add_argument("--cells", type=int, default=1 << 30, metavar="N", help="different ones (default: all)")
    scores.add_argument("--published", action="store_true", help="only cells whose scores others published")
    scores.add_argument("--batch-seed", type=int, default=1, metavar="N", help="(default: %(default)s)")
    scores.add_argument("--processes", type=int, default=0, help="that score, each on one core (default: all cores)")
    scores.add_argument("--ray-address", metavar="HOST:PORT", help="of a Ray cluster that scores, a cell to a core")
    scores.set_defaults(act=_score, say=say)
    times = actions.add_parser("time-cells", help="time some cells of NAS-Bench-201, whose seconds nobody published")
    times.add_argument("--cells", type=int, default=40, metavar="N", help="in the end (default: %(default)s)")
    times.set_defaults(act=_time, say=say)
    for action in (scores, times):
        action.add_argument(
            "--pictures", type=Path, metavar="SOURCE", help="a folder or archive (default: cifar10 in $TRAILS_DATA)"
        )
    explored = actions.add_parser("explore", help="search scored cells again and again, into SQLite")
    explored.add_argument("--tfmem", default="jacflow", metavar="NAMES", help="that guides (default: %(default)s)")
    explored.add_argument("--runs", type=int, default=100, metavar="N", help="(default: %(default)s)")
    explored.add_argument("--steps", type=int, default=8000, metavar="N", help="cells of each (default: %(default)s)")
    explored.add_argument(
        "--sampler", default="evolution", help="random, evolution or reinforcement (default: %(default)s)"
    )
    explored.add_argument("--batch-seed", type=int, default=1, metavar="N", help="of the scores (default: %(default)s)")
    explored.add_argument(
        "--database", type=Path, metavar="FILE", help="(default: explored.sqlite in the benchmark's folder)"
    )
    explored.add_argument("--load", action="store_true", help="put all runs of the file into PostgreSQL as well")
    explored.add_argument("--dsn", help="connection string or URI (default: $TRAILS_DSN, else libpq's environment)")
    explored.add_argument(
        "--schema", default=SCHEMA, help="of the table explored; made if needed (default: %(default)s)"
    )
    explored.set_defaults(act=_explore, say=say)
    for action in (convert, scores, times, explored):
        action.add_argument(
            "--dataset", required=True, metavar="NAME", choices=get_args(Pictures), help=", ".join(get_args(Pictures))
        )
        action.add_argument(
            "--folder", type=Path, default=tables(), help="holds a folder for each dataset (default: %(default)s)"
        )


def _convert(options: argparse.Namespace) -> None:
    from trails.bench.image.convert import convert

    source = options.source or _data("recordings") / "nasbench"
    print(f"{convert(options.dataset, source, options.folder / options.dataset)} cells recorded")


def _score(options: argparse.Namespace) -> None:
    from trails.bench.image.benchmark import ImageBenchmark
    from trails.bench.image.pictures import read_pictures
    from trails.bench.image.score_table import compact, named
    from trails.bench.image.scores import score

    benchmark = ImageBenchmark(options.folder / options.dataset)
    scored = score(
        benchmark,
        read_pictures(_pictures(options)),
        named(options.tfmem),
        cells=options.cells,
        batch_seed=options.batch_seed,
        published=options.published,
        processes=options.processes or os.cpu_count() or 1,
        ray_address=options.ray_address,
        say=options.say,
    )
    print(f"{scored} cells scored; {compact(benchmark.folder)} scores")


def _time(options: argparse.Namespace) -> None:
    from trails.bench.image.benchmark import ImageBenchmark
    from trails.bench.image.pictures import read_pictures
    from trails.bench.image.timing import time_cells

    benchmark = ImageBenchmark(options.folder / options.dataset)
    timed = time_cells(benchmark, read_pictures(_pictures(options)), options.cells, say=options.say)
    print(f"{timed} cells timed")
    for dataset in ("c10", "in16"):
        fit = benchmark.cell_seconds(dataset)
        print(f"{dataset}: estimates are {fit.error:.1%} off in the median, {fit.error90:.1%} for one in ten")


def _explore(options: argparse.Namespace) -> None:
    from trails.bench.image.benchmark import ImageBenchmark
    from trails.bench.image.explore import explore, load_explored

    folder = options.folder / options.dataset
    file = options.database or folder / "explored.sqlite"
    added = explore(
        ImageBenchmark(folder),
        options.tfmem,
        file,
        runs=options.runs,
        steps=options.steps,
        sampler=options.sampler,
        batch_seed=options.batch_seed,
        say=options.say,
    )
    print(f"{added} runs added")
    if options.load:
        rows = load_explored(file, options.dataset, options.dsn, schema=options.schema)
        print(f"{options.schema}.explored: {rows} rows")


def _pictures(options: argparse.Namespace) -> Path:
    return options.pictures or _data("pictures") / "cifar10" / "cifar10_subset.tar.xz"


def _data(what: str) -> Path:
    if not os.environ.get("TRAILS_DATA"):
        raise InvalidInput(f"no {what} are named", hint="Name where they are, or set TRAILS_DATA.")
    return Path(os.environ["TRAILS_DATA"])
