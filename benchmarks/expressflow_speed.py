"""Scoring a whole space at once against one network at a time: seconds, and agreement of the rankings.

One process on one core. Seconds of the whole space are measured, ranking included; those of one network at a
time are measured on a sample and extrapolated to the space. Both one-at-a-time versions draw every network
anew: the textbook one with torch's autograd, the other with NumPy alone. Wall seconds are reported; processor
seconds are recorded beside them, to tell what other programs on the machine cost.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks import plots
from benchmarks.harness import Context, Document, Row, run_pinned
from trails.space import parse_space

SPACE = "mlp4x20"
INPUTS = 100
KEPT = 1000
TIMED = 500
_CHUNK = 100

T = TypeVar("T")


def run(context: Context) -> None:
    """Measure what is not recorded yet."""
    repeats = 5 if context.quick else 15
    sampled = 300 if context.quick else 2000

    indices = parse_space(SPACE).sample(sampled, context.seed).tolist()
    done = len(context.recorded(what="one"))
    for start in range(done, sampled, _CHUNK):
        context.say(f"one network at a time: {start} of {sampled}")
        chunk = indices[start : start + _CHUNK]
        function = "benchmarks.expressflow_speed:measure_one_at_a_time"
        context.record(*run_pinned(function, seed=context.seed, start=start, indices=chunk))
    missing = repeats - len(context.recorded(what="space"))
    if missing > 0:
        context.say(f"whole space: {missing} times")
        function = "benchmarks.expressflow_speed:measure_whole_space"
        context.record(*run_pinned(function, seed=context.seed, repeats=missing))


def measure_whole_space(seed: int, repeats: int) -> list[Row]:
    """Seconds to score and rank the whole space; the process's first time is told apart."""
    from trails.filtering import rank_space

    space = parse_space(SPACE)
    rows = []
    for repeat in range(repeats + 1):
        started, worked = time.perf_counter(), time.process_time()
        ranking = rank_space(space, INPUTS, seed, KEPT)
        row = {
            "seconds": time.perf_counter() - started,
            "processor_seconds": time.process_time() - worked,
            "space": SPACE,
            "inputs": INPUTS,
            "kept": KEPT,
            "architectures": ranking.scored,
            "failed": ranking.failed,
        }
        rows.append({"what": "space" if repeat else "space, first in its process", **row})
    return rows


def measure_one_at_a_time(seed: int, start: int, indices: list[int]) -> list[Row]:
    """Seconds and scores of architectures, the first of which is number ``start`` of the sample."""
    import torch

    from trails.family.mlp.bank import initialise
    from trails.tfmem import ScoringSetting, get_tfmem, textbook
    from trails.tfmem.expressflow import expressflow_of

    torch.set_num_threads(1)
    space = parse_space(SPACE)
    scoring, metric = space.family.scoring, get_tfmem("expressflow")
    shared = scoring.whole_space(metric, space, ScoringSetting(INPUTS, seed))
    generator = torch.Generator().manual_seed(seed * 1_000_003 + start)

    def torch_draw(index: int) -> tuple[torch.nn.Sequential, torch.Tensor]:
        network = textbook.draw_network(space.architecture(index), INPUTS, generator)
        return network, torch.randn(INPUTS, dtype=torch.float64, generator=generator)

    def torch_once(index: int) -> Row:
        return _measure(lambda: torch_draw(index), lambda drawn: textbook.expressflow(*drawn))

    def numpy_once(index: int) -> Row:
        return _measure(lambda: initialise(space.architecture(index), INPUTS, seed), expressflow_of)

    torch_once(indices[0])
    numpy_once(indices[0])
    rows = []
    for position, index in enumerate(indices, start):
        row: Row = {
            "what": "one",
            "position": position,
            "architecture": space.format(space.architecture(index)),
        }
        row["shared_score"] = float(shared[index])
        row["textbook"] = torch_once(index)
        row["numpy"] = numpy_once(index)
        rows.append(row)
    return rows


def _measure(draw: Callable[[], T], score: Callable[[T], float]) -> Row:
    """Draw a network and score it: the score, wall seconds of both steps, processor seconds of the whole."""
    worked = time.process_time()
    started = time.perf_counter()
    network = draw()
    drawn = time.perf_counter()
    value = score(network)
    return {
        "score": value,
        "initialisation": drawn - started,
        "scoring": time.perf_counter() - drawn,
        "processor_seconds": time.process_time() - worked,
    }


def summarise(document: Document) -> list[str]:
    """The figures to reach, and what came out."""
    space = document.select(what="space")
    whole, worked = _whole_space(document), statistics.median(row["processor_seconds"] for row in space)
    lines = [f"{SPACE}, {_architectures(document):,} architectures, one core, ranking included:"]
    lines.append(f"  whole space       {whole:.4f} s, {worked:.4f} s of processor time (medians of {len(space)})")
    timed = _timed(document)
    for name, label in (("textbook", "textbook, torch"), ("numpy", "one by one, NumPy")):
        seconds = _extrapolated(document, name)
        processor = statistics.fmean(row[name]["processor_seconds"] for row in timed) * _architectures(document)
        lines.append(
            f"  {label:17} {seconds:.1f} s, extrapolated from {len(timed)} networks: "
            f"{seconds / whole:,.0f} times as long ({processor / worked:,.0f} in processor time)"
        )
    shared, textbook, numpy = _scores(document)
    lines.append(f"  Spearman over {len(shared)} sampled architectures:")
    lines.append(f"    shared bank, independent networks          {spearman(shared, textbook):.4f}")
    lines.append(f"    two draws of independent networks          {spearman(textbook, numpy):.4f}")
    return lines


def draw(document: Document) -> Mapping[str, Figure]:
    """Seconds for the whole space, and rank against rank."""
    figure, (left, right) = plots.panels(2)
    timed = len(_timed(document))
    bars = [
        ("whole space\nat once", _whole_space(document), "measured", ""),
        ("one by one\nNumPy", _extrapolated(document, "numpy"), f"extrapolated\nfrom {timed}", "///"),
        (
            "one by one\ntorch autograd",
            _extrapolated(document, "textbook"),
            f"extrapolated\nfrom {timed}",
            "///",
        ),
    ]
    for place, (_, seconds, how, hatch) in enumerate(bars):
        colour = plots.COLOURS[place]
        left.bar(place, seconds, color=colour if not hatch else "white", edgecolor=colour, hatch=hatch)
        ratio = f"\n{seconds / bars[0][1]:,.0f} x" if hatch else ""
        left.text(place, seconds * 1.15, f"{_seconds(seconds)}{ratio}\n{how}", ha="center", va="bottom", fontsize=8)
    left.set_yscale("log")
    left.set_ylim(bars[0][1] / 4, bars[-1][1] * 40)
    left.set_xticks(range(len(bars)), [bar[0] for bar in bars])
    left.grid(axis="x", visible=False)
    left.set_ylabel("seconds")
    left.set_title(f"ExpressFlow of {_architectures(document):,} architectures, one core")

    shared, textbook, _ = _scores(document)
    right.plot(_ranks(shared) + 1, _ranks(textbook) + 1, ".", markersize=2, alpha=0.6)
    right.set_xlabel("rank, weights shared by the whole space")
    right.set_ylabel("rank, weights drawn for each network")
    right.set_title(f"{len(shared):,} sampled: Spearman {spearman(shared, textbook):.4f}")
    return {"": figure}


def spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Spearman's coefficient of two lists without ties."""
    return float(np.corrcoef(_ranks(a), _ranks(b))[0, 1])


def _ranks(values: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.argsort(np.argsort(values)).astype(np.int64)


def _whole_space(document: Document) -> float:
    return float(statistics.median(row["seconds"] for row in document.select(what="space")))


def _architectures(document: Document) -> int:
    return int(document.select(what="space")[0]["architectures"])


def _timed(document: Document) -> Sequence[Row]:
    return document.select(what="one")[:TIMED]


def _extrapolated(document: Document, name: str) -> float:
    """Mean seconds of the timed networks, initialisation included, times the size of the space."""
    seconds: Iterable[float] = (row[name]["initialisation"] + row[name]["scoring"] for row in _timed(document))
    return statistics.fmean(seconds) * _architectures(document)


def _scores(document: Document) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    rows = document.select(what="one")
    return (
        np.array([row["shared_score"] for row in rows]),
        np.array([row["textbook"]["score"] for row in rows]),
        np.array([row["numpy"]["score"] for row in rows]),
    )


def _seconds(value: float) -> str:
    digits = max(0, 1 - math.floor(math.log10(value)))
    return f"{value:,.{digits}f} s"
