"""Selections on records beside real ones of the same pools, networks and budget; and what look-ups cost.

Ten pools of the table are drawn. Of each a real selection trains what it chooses, from the same first weights as the
recorded trainings, within a budget of the processor time of one core: what else the machine does does not count, as it
does not in the benchmark. A recorded selection of the same pool stands beside it, and those of a hundred pools show the
spread. Last, the seconds of opening and scanning a made-up table of 160,000 rows, of a look-up, and of a recorded
selection of 25 hours.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks import plots
from benchmarks._records import DATASETS, SEED, open_table, quartiles
from benchmarks._selections import begin, half, noise_line, reachable, row_of
from benchmarks.harness import Context, Document, run_pinned
from trails.bench.candidates import recorded
from trails.bench.simulate import simulate
from trails.bench.table import Benchmark
from trails.filtering.search import ScoredPool
from trails.filtering.shortlist import shortlist

__all__ = ["DATASETS", "draw", "real_selection", "run", "summarise"]

SECONDS, QUICK_SECONDS = 60.0, 20.0
REAL, QUICK_REAL = 10, 2
RECORDED = 100
SCANNED = 160_000
HOURS = 25.0
_DIGITS = 1e-6


def run(context: Context) -> None:
    """Recorded selections first, then the real ones that are not there yet."""
    benchmark = open_table(str(context.dataset))
    pool, budget = half(benchmark), QUICK_SECONDS if context.quick else SECONDS
    begin(context, benchmark, pool, budget=budget)
    if not context.recorded(part="recorded"):
        context.record(*(_recorded(benchmark, budget, pool, seed) for seed in range(RECORDED)))
    if not context.recorded(part="speed"):
        context.record(*_speed(benchmark))
    for seed in range(QUICK_REAL if context.quick else REAL):
        if context.recorded(part="real", run=seed):
            continue
        context.say(f"{context.dataset}: real selection {seed}, {budget:g} s")
        row = run_pinned(
            "benchmarks.recorded_against_real:real_selection",
            dataset=context.dataset,
            budget=budget,
            pool=pool,
            seed=seed,
        )
        context.record({"part": "real", "run": seed, **row})


def _recorded(benchmark: Benchmark, budget: float, pool: int, seed: int) -> dict[str, Any]:
    found = simulate(benchmark, budget, pool=pool, seed=seed)
    return {"part": "recorded", "run": seed, **row_of(found, reachable(benchmark, pool, seed))}


def real_selection(dataset: str, budget: float, pool: int, seed: int) -> dict[str, Any]:
    """One real selection in this process, on one core, among the pool that a simulated one of this seed has.

    Returns:
        As `row_of`: ``seconds`` are of the processor, ``wall`` of the clock on the wall.
    """
    import torch

    from benchmarks.selection import test_auc
    from trails.bench.building.rowsets import Rowsets
    from trails.bench.protocol import get_protocol
    from trails.limits import RESERVE_SECONDS
    from trails.loading.columns import dataset_columns
    from trails.loading.sources import find_dataset
    from trails.refinement.clock import MonotonicClock
    from trails.refinement.protocol import Candidate, Events, Refine, Setting
    from trails.refinement.run import refine
    from trails.refinement.timings import Timings
    from trails.training.options import parse_options

    class ProcessorClock(MonotonicClock):
        """Passes as this process computes."""

        def now(self) -> float:
            return time.process_time()

    torch.set_num_threads(1)
    benchmark, protocol = open_table(dataset), get_protocol(dataset)
    known = recorded(benchmark, SEED).drawn(pool, seed)
    merits = benchmark.merits("expressflow")[known.places]
    scored = ScoredPool(np.arange(pool), merits[None], merits, 0, np.zeros(pool))
    given = protocol.trained_with(max_epochs=protocol.epochs, patience=protocol.epochs, refit=False)
    options = parse_options(given)
    chosen = shortlist(known.space, scored, benchmark.setting.fields * options.embedding).tolist()
    candidates = tuple(Candidate(known.names[p], known.designs[p], float(merits[p])) for p in chosen)
    rowsets, clock = Rowsets.read(protocol, torch.device("cpu")), ProcessorClock()
    filtering = benchmark.whole_space_seconds("expressflow") or 0.0
    began, started = time.monotonic(), clock.now() - filtering
    rows = {"columns": [None] * (rowsets.data.encoder.fields + 1), "rows": len(rowsets.data.train)}
    setting = Setting("label", SEED, started, budget, started + budget, rows, None, threads=1)
    request = Refine(candidates, "sh", None, None, options, filtering / pool, pool, space=protocol.space)
    lines: list[bytes] = []
    cpu = torch.device("cpu")
    ranked = refine(setting, request, rowsets.data, [cpu], Events(lines.append), Timings(started, clock), clock)
    seconds, wall = clock.now() - started, time.monotonic() - began
    assert seconds <= budget + RESERVE_SECONDS
    events = [_event(line) for line in lines]
    (plan,) = [event for event in events if event["event"] == "plan"]
    winner = ranked[0]
    return {
        "winner": winner.architecture,
        "valid_auc": winner.best_metric,
        "test_auc": test_auc(winner, rowsets.data, dataset_columns(find_dataset(dataset), "test")),
        "best_epoch": winner.best_epoch,
        "seconds": seconds,
        "wall": wall,
        "epochs": sum(event["event"] == "epoch" for event in events),
        "k": plan["k"],
        "u": plan["u"],
    }


def _event(line: bytes) -> dict[str, Any]:
    import json

    found: dict[str, Any] = json.loads(line)
    return found


def _speed(benchmark: Benchmark) -> list[dict[str, Any]]:
    """Seconds of look-ups, medians of several, on this machine as busy as it is."""
    names, epoch = benchmark.architectures, benchmark.setting.epochs
    benchmark.query(names[0], epoch=1, seed=SEED, split="valid")

    def look_up() -> None:
        for name in names:
            benchmark.query(name, epoch=1, seed=SEED, split="valid")

    with tempfile.TemporaryDirectory() as folder:
        made = _made_up(Path(folder, "large"), benchmark)

        def scan() -> None:
            column = Benchmark(made).column("valid_auc", epoch=epoch, seed=SEED)
            assert len(column) == SCANNED // epoch

        return [
            {"part": "speed", "what": "scan", "times": SCANNED, "seconds": _median(scan)},
            {"part": "speed", "what": "look-up", "times": len(names), "seconds": _median(look_up)},
            {
                "part": "speed",
                "what": "selection",
                "times": 1,
                "seconds": _median(lambda: simulate(benchmark, HOURS * 3600.0)),
            },
        ]


def _made_up(folder: Path, benchmark: Benchmark) -> Path:
    """A table of `SCANNED` rows, of as many architectures of the same space as that is."""
    from dataclasses import replace

    import pyarrow as pa

    from trails.bench.files import write_table
    from trails.bench.schemas import CURVE
    from trails.bench.store import Store

    epochs, draw = benchmark.setting.epochs, np.random.default_rng(0)
    count = SCANNED // epochs
    # A space that has so many.
    Store(folder).claim(replace(benchmark.setting, space="mlp4x20"))
    found: dict[str, Any] = {field.name: draw.random(count * epochs) for field in CURVE}
    found |= {
        "place": np.repeat(np.arange(count), epochs),
        "seed": np.full(count * epochs, SEED),
        "epoch": np.tile(np.arange(1, epochs + 1), count),
        "stacked": np.ones(count * epochs, np.int16),
        "machine": pa.array(["made up"] * (count * epochs)).dictionary_encode(),
    }
    write_table(folder / "curve.parquet", pa.table(found).cast(CURVE))
    return folder


def _median(work: Callable[[], object], times: int = 5) -> float:
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return quartiles(taken)[1]


def draw(document: Document) -> Mapping[str, Figure]:
    """Test AUC of the real winners upon the spread of the recorded ones; and pool by pool."""
    figure, (spread, pairs) = plots.panels(2, width=4.6, height=3.8)
    simulated = {int(row["run"]): row for row in document.select(part="recorded")}
    real = {int(row["run"]): row for row in document.select(part="real")}
    aucs = [float(row["test_auc"]) for row in simulated.values()]
    spread.hist(aucs, bins=20, color=plots.COLOURS[0], alpha=0.5, label=f"{len(aucs)} recorded (simulated)")
    for number, row in enumerate(real.values()):
        label = f"{len(real)} real" if number == 0 else None
        spread.axvline(float(row["test_auc"]), color=plots.COLOURS[1], linewidth=1.0, label=label)
    spread.set_xlabel("test AUC of the winner")
    spread.set_ylabel("selections")
    spread.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2, fontsize=7.5)
    dataset, budget = document.settings["dataset"], _note(document, "budget")
    spread.set_title(f"{dataset}: {budget:g} s of one core", fontsize=9)
    x, y = ([float(of[number]["test_auc"]) for number in real] for of in (simulated, real))
    low, high = min(x + y, default=0.0), max(x + y, default=1.0)
    pairs.plot([low, high], [low, high], color="#888888", linewidth=0.8)
    pairs.plot(x, y, "o", markersize=4, color=plots.COLOURS[1])
    pairs.set_xlabel("recorded (simulated): test AUC")
    pairs.set_ylabel("real, the same pool: test AUC")
    pairs.set_title(f"pools of {_note(document, 'pool')}; {_note(document, 'table')}", fontsize=8)
    return {"": figure}


def summarise(document: Document) -> list[str]:
    """The spread of the recorded, how many of the real lie in it, pair by pair, and what look-ups take."""
    simulated = {int(row["run"]): row for row in document.select(part="recorded")}
    real = {int(row["run"]): row for row in document.select(part="real")}
    aucs = [float(row["test_auc"]) for row in simulated.values()]
    low, median, high = quartiles(aucs)
    # Recorded AUCs have the digits of float32.
    inside = [min(aucs) - _DIGITS <= float(row["test_auc"]) <= max(aucs) + _DIGITS for row in real.values()]
    told = quartiles(float(row["test_auc"]) for row in real.values())
    gaps = [abs(float(row["test_auc"]) - float(simulated[number]["test_auc"])) for number, row in real.items()]
    same = [row["winner"] == simulated[number]["winner"] for number, row in real.items()]
    ratio = [float(row["epochs"]) / float(simulated[number]["epochs"]) for number, row in real.items()]
    lines = [
        f"{document.settings['dataset']}, {_note(document, 'budget'):g} s, {_note(document, 'table')}, "
        f"pools of {_note(document, 'pool')}:",
        f"  recorded: test AUC {median:.4f} ({low:.4f} to {high:.4f}; {min(aucs):.4f} to {max(aucs):.4f} in all)",
        f"  real: {told[1]:.4f} ({told[0]:.4f} to {told[2]:.4f}); {sum(inside)} of {len(inside)} within the spread",
        f"  the same pool: {sum(same)} of {len(same)} the same winner, test AUC apart by {quartiles(gaps)[1]:.4f} "
        f"(median), real epochs for each recorded {quartiles(ratio)[1]:.2f}",
        f"  {noise_line(document)}",
    ]
    for row in document.select(part="speed"):
        each = row["seconds"] / row["times"]
        seconds = f"{row['seconds']:.3f} s" if row["what"] != "look-up" else f"{1e6 * each:.0f} microseconds each"
        what = {"scan": f"opening and scanning {SCANNED:,} rows", "selection": f"a selection of {HOURS:g} hours"}
        lines.append(f"  {what.get(row['what'], 'a look-up')}: {seconds}")
    return lines


def _note(document: Document, name: str) -> Any:
    return document.sessions[0][name]
