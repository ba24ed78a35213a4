"""Scores of cells for pictures: seconds against reference computations, agreement with scores that were published.

Seeded cells of NAS-Bench-201 and NAS-Bench-101 among those whose scores NASLib published, on one batch of 32 CIFAR-10
pictures, one network after another on one core. The reference of naswot is its authors' computation (a Jacobian that
the score does not use, and a second pass), timed also without the Jacobian; that of synflow differentiates. Seconds are
processor time, so that what else the machine does matters little. Wants `nasbench` and `cifar10` in $TRAILS_DATA.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks import _pictures, plots
from benchmarks.harness import Context, Document, Row, run_pinned

SPACES = ("nasbench201", "nasbench101")
METRICS = ("synflow", "naswot", "grad_norm", "snip", "fisher", "jacob_cov", "weight_norm", "params", "grasp", "zen")
_SLOW = ("grasp", "zen")
_CHUNK = 20
PUBLISHED_SECONDS = (0.33, 0.45)
"""Of jacflow, one cell of NAS-Bench-201, batch of 32, on the study's machine."""


def run(context: Context) -> None:
    """Measure what is not recorded yet."""
    wanted = {"nasbench201": 12, "nasbench101": 4} if context.quick else {"nasbench201": 100, "nasbench101": 30}
    for space, count in wanted.items():
        slow = not context.quick and space == "nasbench201"
        names = [name for name in METRICS if slow or name not in _SLOW]
        for start in range(len(context.recorded(space=space)), count, _CHUNK):
            context.say(f"{space}: {start} of {count} cells")
            chunk = min(_CHUNK, count - start)
            function = "benchmarks.cell_scoring:measure"
            context.record(*run_pinned(function, space=space, start=start, count=chunk, seed=context.seed, names=names))


def measure(space: str, start: int, count: int, seed: int, names: Sequence[str]) -> list[Row]:
    """Seconds and scores of ``count`` cells, from number ``start`` of the seeded order on."""
    import torch

    from trails.bench.image.convert import convert
    from trails.bench.image.store import read_table
    from trails.family.cell import textbook
    from trails.family.cell.networks import measures_of
    from trails.space import picture_space

    torch.set_num_threads(1)
    batches = [_pictures.batch(32, seed)]
    with tempfile.TemporaryDirectory() as folder:
        convert(space, _pictures.data() / "nasbench", Path(folder))
        table = read_table(Path(folder), "published_score").to_pylist()
    theirs: dict[int, dict[str, float]] = {}
    for row in table:
        if row["dataset"] == "c10" and row["score"] is not None:
            theirs.setdefault(row["index"], {}).setdefault(row["tfmem"], row["score"])
    cells = picture_space(space)
    scored = sorted(index for index, scores in theirs.items() if "synflow" in scores)
    rows = []
    for position, index in enumerate(
        np.random.default_rng(seed).permutation(scored)[start : start + count].tolist(), start
    ):
        design = cells.architecture(index)
        measures = measures_of(space, design, seed, batches[0].inputs, batches)
        network, x = measures.network, measures.batches[0].x.contiguous()
        parameters = cells.parameters(design, batches[0].inputs)
        timed: dict[str, Callable[[], float]] = {name: partial(measures.of, name) for name in names}
        timed |= {
            "params": partial(float, parameters),
            "reference naswot": partial(textbook.naswot, network, x),
            "reference naswot without Jacobian": partial(textbook.naswot, network, x, jacobian=False),
            "reference synflow": partial(textbook.synflow, network, 32),
        }
        scores, seconds = {}, {}
        for name, score in timed.items():
            began = time.process_time()
            value = score()
            seconds[name] = time.process_time() - began
            scores[name] = value if np.isfinite(value) else None
        published = {name: theirs[index].get(name) for name in names}
        known = {"space": space, "position": position, "cell": cells.format(design)}
        rows.append({**known, "seconds": seconds, "scores": scores, "published": published})
    return rows


def draw(document: Document) -> Mapping[str, Figure]:
    """Seconds of jacflow of both, cell by cell, and how metrics rank as those that were published."""
    figure, (seconds, agreement) = plots.panels(2, width=5.4, height=4.2)
    for space in SPACES:
        ours, theirs = _seconds(document, space)
        seconds.plot(theirs, ours, ".", label=f"{space}, {len(ours)} cells")
    low, high = seconds.get_xlim()
    for times in (1, 2, 4):
        seconds.plot([low, high], [low / times, high / times], color="0.7", linewidth=0.8, zorder=0)
        seconds.annotate(f"{times}x", (high, high / times), color="0.5", fontsize=8)
    published = "published for NAS-Bench-201,\non the study's machine"
    seconds.axvspan(*PUBLISHED_SECONDS, color="0.92", zorder=-1, label=published)
    seconds.set_xscale("log")
    seconds.set_yscale("log")
    seconds.set_xlabel("reference computations, processor seconds a cell")
    seconds.set_ylabel("here, processor seconds a cell")
    seconds.set_title("naswot and synflow of one cell, batch of 32")
    seconds.legend(loc="lower right", fontsize=8)
    names = [name for name in METRICS if any(_agreement(document, space, name) is not None for space in SPACES)]
    for offset, space in ((0.2, SPACES[0]), (-0.2, SPACES[1])):
        values = [_agreement(document, space, name) for name in names]
        count = len(_seconds(document, space)[0])
        known = [(place + offset, value) for place, value in enumerate(reversed(values)) if value is not None]
        agreement.barh(
            [place for place, _ in known], [value for _, value in known], 0.4, label=f"{space}, {count} cells"
        )
    agreement.set_yticks(range(len(names)), list(reversed(names)))
    agreement.axvline(0.95, color="0.5", linewidth=0.8, linestyle=":")
    agreement.set_xlabel("Spearman with the scores that NASLib published")
    agreement.set_title("Agreement in rank, one draw of weights")
    agreement.legend(loc="upper left", fontsize=8, bbox_to_anchor=(1.0, 1.0))
    return {"": figure}


def summarise(document: Document) -> list[str]:
    """What came out, the published seconds beside it."""
    lines = []
    for space in SPACES:
        ours, theirs = _seconds(document, space)
        if not len(ours):
            continue
        times, plain = theirs / ours, _seconds(document, space, " without Jacobian")[1] / ours
        lines.append(
            f"{space}: naswot and synflow of a cell in {np.median(ours):.3f} s (median of {len(ours)}; published for "
            f"NAS-Bench-201: {PUBLISHED_SECONDS[0]} to {PUBLISHED_SECONDS[1]} s on another machine), "
            f"{np.median(times):.1f} times sooner than the reference computations (least: {times.min():.1f}), "
            f"{np.median(plain):.1f} times where the Jacobian is left out"
        )
        found = {name: _agreement(document, space, name) for name in METRICS}
        told = ", ".join(f"{name} {value:.3f}" for name, value in found.items() if value is not None)
        lines.append(f"{space}: Spearman with published scores: {told}")
    return lines


def _seconds(document: Document, space: str, naswot: str = "") -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of naswot and synflow together, here and by the reference: float64 (cells,) each."""
    rows = [row["seconds"] for row in document.rows if row["space"] == space]
    ours = [row["naswot"] + row["synflow"] for row in rows]
    theirs = [row[f"reference naswot{naswot}"] + row["reference synflow"] for row in rows]
    return np.array(ours), np.array(theirs)


def _agreement(document: Document, space: str, name: str) -> float | None:
    """Spearman of our scores with the published ones; None where there are fewer than three of either."""
    rows = [row for row in document.rows if row["space"] == space]
    pairs = [(row["scores"].get(name), row["published"].get(name)) for row in rows]
    kept = np.array([pair for pair in pairs if None not in pair], np.float64)
    if len(kept) < 3:
        return None
    return float(np.corrcoef(rank_of(kept[:, 0]), rank_of(kept[:, 1]))[0, 1])


def rank_of(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 0 on, those of equal values their mean: float64 (values,)."""
    below = (values[:, None] > values).sum(axis=1)
    return np.asarray(below + ((values[:, None] == values).sum(axis=1) - 1) / 2, np.float64)
