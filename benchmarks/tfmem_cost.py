"""What every training-free metric costs, textbook and fast: seconds per architecture, peak memory, agreement.

Sampled architectures of one space are scored on one batch of a real table. The textbook draws a network for each and
runs the formula in torch; the fast route scores the same architectures with shared weights, one at a time or as part
of the whole space. Each metric and route has a process of its own on one core (a few whole-space runs use two, and say
so). Both routes compute in the precision that the fast one uses. Wall seconds; memory is the peak of resident memory
above what the process held once its libraries were imported.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks import plots
from benchmarks._memory import forget_peak, peak_megabytes
from benchmarks.harness import Context, Document, Row, run_pinned

DATASETS = ("frappe", "uci_diabetes", "criteo")

SPACE = "mlp4x20"
BATCH = 32
_CHUNK = 250
_ROWS_READ = 20_000


def run(context: Context) -> None:
    """Measure what is not recorded yet."""
    from trails.tfmem import REGISTRY

    sampled = 60 if context.quick else 2000
    common = {"dataset": context.dataset, "seed": context.seed}
    here = "benchmarks.tfmem_cost"
    for name, metric in REGISTRY.items():
        for start in range(len(context.recorded(what="one", metric=name)), sampled, _CHUNK):
            context.say(f"{name}: {start} of {sampled} architectures")
            chunk = min(_CHUNK, sampled - start)
            context.record(*run_pinned(f"{here}:measure_textbook", name=name, start=start, count=chunk, **common))
        for cores in (1, 2) if metric.needs else (1,):
            if not _at_once(name):
                if not context.recorded(what="fast", metric=name) and cores == 1:
                    context.record(*run_pinned(f"{here}:measure_fast", name=name, count=sampled, **common))
            elif not context.recorded(what="space", metric=name, cores=cores):
                context.say(f"{name}: whole space on {cores} core(s)")
                repeats = 3 if context.quick else 7
                function = f"{here}:measure_space"
                context.record(*run_pinned(function, cores=cores, name=name, workers=cores, repeats=repeats, **common))


def measure_textbook(name: str, start: int, count: int, dataset: str, seed: int) -> list[Row]:
    """Seconds and scores of ``count`` networks from number ``start`` of the sample on, and a second draw's scores."""
    import torch

    from trails.space import parse_space
    from trails.tfmem import parse_tfmems, textbook

    torch.set_num_threads(1)
    space, batches = parse_space(SPACE), _batches(dataset, seed)
    parts = parse_tfmems(name)
    generator = torch.Generator().manual_seed(seed * 1_000_003 + start)
    inputs = batches[0].inputs
    dtype = torch.float32 if all(part.single for part in parts) else torch.float64
    pairs = [(torch.from_numpy(b.x).to(dtype), torch.from_numpy(b.y).to(dtype)) for b in batches if b.y is not None]

    def once(index: int) -> list[float]:
        architecture = space.architecture(index)
        scores = []
        for part in parts:
            metric = getattr(textbook, part.name)
            rows = _rows_for(part.name, space, batches[0])
            if part.needs:
                network = textbook.draw_signed_network(architecture, inputs, generator, dtype=dtype)
                x, y = (tensor[:rows] for tensor in pairs[0])
                if part.name == "zico":
                    scores.append(metric(network, pairs))
                else:
                    scores.append(metric(network, x, y) if "y" in part.needs else metric(network, x))
                continue
            network = textbook.draw_network(architecture, inputs, generator)
            if part.name == "expressflow":
                scores.append(metric(network, torch.randn(inputs, dtype=torch.float64, generator=generator)))
            else:
                scores.append(metric(network, inputs) if part.name == "synflow" else metric(network))
        return scores

    indices = space.sample(2000, seed).tolist()[start : start + count]
    once(indices[0])
    forget_peak()
    rows = []
    for position, index in enumerate(indices, start):
        began = time.perf_counter()
        scores = once(index)
        seconds = time.perf_counter() - began
        rows.append({"what": "one", "metric": name, "position": position, "seconds": seconds, "scores": scores})
    megabytes = peak_megabytes()
    for row, second in zip(rows, _second_draw(name, indices, dataset, seed), strict=True):
        row |= {"second_scores": second, "megabytes": megabytes}
    return [_finite(row) for row in rows]


def _second_draw(name: str, indices: Sequence[int], dataset: str, seed: int) -> Iterator[list[float]]:
    """Scores of networks drawn once more, each its own, by the formula of one network; untimed."""
    from trails.space import parse_space
    from trails.tfmem import parse_tfmems

    space, batches = parse_space(SPACE), _batches(dataset, seed)
    for index in indices:
        architecture = space.architecture(index)
        scores = []
        for part in parse_tfmems(name):
            network = space.family.scoring.initialise([part], architecture, batches[0].inputs, seed)
            rows = _rows_for(part.name, space, batches[0])
            with np.errstate(all="ignore"):
                scores.append(network(part, [batch.head(rows) for batch in batches[: part.batches]]))
        yield scores


def measure_fast(name: str, count: int, dataset: str, seed: int) -> list[Row]:
    """Seconds of the fast route over the whole sample, one architecture at a time, and its scores."""
    from trails.filtering import Scorer
    from trails.space import parse_space
    from trails.tfmem import ScoringSetting, parse_tfmems

    space, batches = parse_space(SPACE), _batches(dataset, seed)
    sample = space.sample(2000, seed)[:count]
    scorer = Scorer(space, parse_tfmems(name), ScoringSetting(batches[0].inputs, seed, batches))
    scorer.scores(sample[:2])
    forget_peak()
    began = time.perf_counter()
    scores = scorer.scores(sample).scores
    row = {"what": "fast", "metric": name, "architectures": count, "seconds": time.perf_counter() - began}
    return [_finite({**row, "megabytes": peak_megabytes(), "scores": scores.tolist()})]


def measure_space(name: str, workers: int, repeats: int, dataset: str, seed: int) -> list[Row]:
    """Seconds of scoring and ranking the whole space, several times, and the sample's scores."""
    from trails.filtering import score_pool
    from trails.space import parse_space
    from trails.tfmem import ScoringSetting, parse_tfmems

    space, batches = parse_space(SPACE), _batches(dataset, seed)
    sample = space.sample(2000, seed)
    rows = []
    forget_peak()
    for repeat in range(repeats + 1):
        began = time.perf_counter()
        pool = score_pool(space, parse_tfmems(name), ScoringSetting(batches[0].inputs, seed, batches, workers))
        pool.best(1000)
        row = {
            "what": "space" if repeat else "space, first in its process",
            "metric": name,
            "cores": workers,
            "architectures": space.size,
            "failed": pool.failed,
            "seconds": time.perf_counter() - began,
            "megabytes": peak_megabytes(),
        }
        rows.append(_finite({**row, "scores": pool.scores[:, sample].tolist()} if repeat == 1 else row))
    return rows


def _batches(dataset: str, seed: int):  # type: ignore[no-untyped-def]
    """Two batches of the dataset's first training rows, drawn as the filtering phase draws them."""
    from trails.filtering.rows import TableRows
    from trails.loading.libsvm import read_blocks
    from trails.loading.sources import find_dataset
    from trails.table.columns import Column, Columns
    from trails.tfmem import parse_tfmems

    found = find_dataset(dataset)
    block = next(read_blocks(found.files["train"], found.fields))
    labels, ids = block.labels[:_ROWS_READ], block.ids[:_ROWS_READ]
    columns = tuple(Column(f"c{place}", "int32", column) for place, column in enumerate(ids.T))
    rows = TableRows(Columns(len(ids), columns), Column("label", "int64", labels.astype(np.int64)))
    return rows.batches(parse_tfmems("zico+naswot"), BATCH, seed)[0]


def _rows_for(name: str, space, batch) -> int:  # type: ignore[no-untyped-def]
    from trails.filtering.scoring import jacobian_rows

    return jacobian_rows(space, batch) if name == "jacob_cov" else len(batch.x)


def _at_once(name: str) -> bool:
    from trails.space import parse_space
    from trails.tfmem import parse_tfmems

    space = parse_space(SPACE)
    return all(space.family.scoring.at_once(part, space) for part in parse_tfmems(name))


def _finite(value):  # type: ignore[no-untyped-def]
    """The same with None where a number is not finite: JSON has no other word for it."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def costs(document: Document, name: str) -> Row:
    """A metric's seconds an architecture and megabytes, textbook and fast; how the fast route works."""
    how = _how(document, name)
    return {
        "networks": len(document.select(what="one", metric=name)),
        "textbook_seconds": _textbook(document, name),
        "fast_seconds": _fast(document, name, 1),
        "fast_how": how,
        "textbook_megabytes": _memory(document, name, "one"),
        "fast_megabytes": _memory(document, name, how),
    }


def summarise(document: Document) -> list[str]:
    """One line per metric."""
    head = f"{'metric':17}{'textbook':>11}{'fast':>11}{'ratio':>9}{'textbook':>10}{'fast':>7}{'agree':>8}{'draws':>8}"
    lines = [
        f"{SPACE}, batch {BATCH}; microseconds an architecture, megabytes, Spearman (fast with the textbook's own "
        "networks; two independent draws)",
        head,
    ]
    for name in _metrics(document):
        slow, fast, how = _textbook(document, name), _fast(document, name, 1), _how(document, name)
        agree, draws = _agreement(document, name)
        line = f"{name:17}{slow * 1e6:11,.0f}{fast * 1e6:11,.2f}{slow / fast:9,.0f}"
        line += f"{_memory(document, name, 'one'):10,.0f}{_memory(document, name, how):7,.0f}{agree:8.4f}{draws:8.4f}"
        lines.append(line + (f"  {how}, whole space {fast * 160_000:.3f} s" if how == "space" else ""))
        if document.select(what="space", metric=name, cores=2):
            two = _fast(document, name, 2)
            lines.append(f"{'':17}{'on two cores':>11}{two * 1e6:10,.2f}{slow / two:9,.0f}  {two * 160_000:31.3f} s")
    return lines


def draw(document: Document) -> Mapping[str, Figure]:
    """Seconds an architecture, memory and agreement of every metric."""
    names = sorted(_metrics(document), key=lambda name: _fast(document, name, 1), reverse=True)
    figure, axes = plots.panels(3, width=3.6, height=0.24 * len(names) + 0.8)
    for axis in axes:
        axis.set_yticks(range(len(names)), names if axis is axes[0] else [""] * len(names))
        axis.set_ylim(-0.7, len(names) - 0.3)
        axis.grid(axis="y", visible=False)
    _draw_seconds(axes[0], document, names)
    for name, offset, colour, how in (("textbook", 0.2, 1, "one"), ("fast", -0.2, 0, "")):
        values = [_memory(document, metric, how or _how(document, metric)) for metric in names]
        places = [place + offset for place in range(len(names))]
        axes[1].barh(places, values, 0.38, color=plots.COLOURS[colour], label=name)
    axes[1].set_xlabel("peak memory of the process, libraries included, MB")
    pairs = [_agreement(document, name) for name in names]
    axes[2].plot([pair[1] for pair in pairs], range(len(names)), "|", markersize=9, color="black", label="two draws")
    axes[2].plot([pair[0] for pair in pairs], range(len(names)), ".", markersize=8, label="fast, textbook")
    axes[2].set_xlim(min(0.0, *(value for pair in pairs for value in pair)) - 0.03, 1.03)
    axes[2].set_xlabel(f"Spearman, {len(document.select(what='one', metric=names[0])):,} architectures")
    axes[0].legend(loc="lower left", fontsize=7)
    axes[2].legend(loc="upper left", fontsize=7)
    axes[0].set_title(f"{document.settings['dataset']}, {SPACE}, batch {BATCH}, one core")
    return {"": figure}


def _draw_seconds(axis: Axes, document: Document, names: Sequence[str]) -> None:
    slow = [_textbook(document, name) for name in names]
    fast = [_fast(document, name, 1) for name in names]
    at_once = [_how(document, name) == "space" for name in names]
    axis.hlines(range(len(names)), fast, slow, color="#bbbbbb", linewidth=1, zorder=1)
    axis.plot(slow, range(len(names)), "o", color=plots.COLOURS[1], markersize=5, label="textbook")
    for how, marker, label in ((False, "o", "fast, one at a time"), (True, "D", "fast, whole space at once")):
        places = [place for place, flag in enumerate(at_once) if flag == how]
        axis.plot([fast[p] for p in places], places, marker, color=plots.COLOURS[0], markersize=5, label=label)
    for place, (a, b) in enumerate(zip(slow, fast, strict=True)):
        axis.text(a * 1.6, place, f"{a / b:,.0f} x", va="center", fontsize=7)
    axis.set_xscale("log")
    axis.set_xlim(right=max(slow) * 12)
    axis.set_xlabel("seconds an architecture")


def _metrics(document: Document) -> list[str]:
    measured = {row["metric"] for row in document.rows if row["what"] in ("fast", "space")}
    return [name for name in dict.fromkeys(row["metric"] for row in document.select(what="one")) if name in measured]


def _how(document: Document, name: str) -> str:
    return "space" if document.select(what="space", metric=name) else "fast"


def _textbook(document: Document, name: str) -> float:
    """Mean seconds of one architecture, drawing its network included."""
    return statistics.fmean(row["seconds"] for row in document.select(what="one", metric=name))


def _fast(document: Document, name: str, cores: int) -> float:
    """Seconds of one architecture: the median of the whole space's, ranking included, or of the sample's."""
    rows = document.select(what="space", metric=name, cores=cores) or document.select(what="fast", metric=name)
    return statistics.median(row["seconds"] / row["architectures"] for row in rows)


def _memory(document: Document, name: str, what: str) -> float:
    return max(float(row["megabytes"]) for row in document.select(what=what, metric=name))


def _agreement(document: Document, name: str) -> tuple[float, float]:
    """Spearman of fast scores with the textbook's, and of two draws of independent networks."""
    from trails.filtering import combine_ranks
    from trails.tfmem import parse_tfmems

    orientations = [part.orientation for part in parse_tfmems(name)]
    ones = document.select(what="one", metric=name)
    recorded = document.select(what="space", metric=name) or document.select(what="fast", metric=name)
    fast = next(row["scores"] for row in recorded if "scores" in row)
    columns = [
        [row[: len(ones)] for row in fast],
        np.array([row["scores"] for row in ones], dtype=float).T,
        np.array([row["second_scores"] for row in ones], dtype=float).T,
    ]
    shared, own, second = (combine_ranks([np.array(part, dtype=float) for part in c], orientations) for c in columns)
    return _spearman(shared, own), _spearman(own, second)


def _spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Spearman's coefficient where neither failed; mean ranks for ties."""
    usable = np.isfinite(a) & np.isfinite(b)
    ranks = []
    for values in (a[usable], b[usable]):
        _, group, sizes = np.unique(values, return_inverse=True, return_counts=True)
        ranks.append((np.cumsum(sizes) - sizes / 2)[group])
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])
