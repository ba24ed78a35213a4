"""Rank correlation of training-free metrics with the recorded accuracy of cells for pictures, beside controls.

Two sets of cells: the many that jacflow was computed of here, with the metrics that cover them; and the few hundred
whose scores others published, with every metric, ours and theirs. Coefficients are with the test accuracy after the
longest training, the mean of runs (NAS-Bench-101: the validation accuracy, as no test accuracy is in the extract), and
with validation accuracies of shorter trainings. A failed score ranks last. Isomorphic cells, which share a score and
were trained each for itself, are drawn together in the bootstrap.

Lines say what other trainings reach: one run against the mean of runs, of which it is one; two isomorphic cells against
each other; the shorter training against the longer one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks import plots
from benchmarks._cells import (
    CONTROLS,
    DATASETS,
    PUBLISHED,
    RANDOM,
    SCHEDULES,
    TITLES,
    Cells,
    found,
    heading,
    missing,
    newest,
    open_cells,
)
from benchmarks._coefficients import between, dots, name_rows, shown
from benchmarks._statistics import (
    COEFFICIENTS,
    Vector,
    between_95,
    interval_by_groups,
    or_none,
    resampled_by_groups,
    spearman,
    top,
)
from benchmarks.harness import Context, Document, Row

__all__ = ["DATASETS", "draw", "missing", "run", "summarise"]

SHARES = (1.0, 0.5, 0.1)
OTHERS = ("zen", "synflow", "naswot", "snip", "grad_norm", "fisher", "grasp", "jacob_cov", "grad_plain", "epe_nas",
          "weight_norm")  # fmt: skip
"""Metrics whose scores others published."""

STUDY: Mapping[str, Mapping[str, float]] = {
    "c10": {"jacflow": 0.834},
    "c100": {"jacflow": 0.837},
    "in16": {"jacflow": 0.808},
}
"""Published Spearman coefficients with the accuracy of all 15,625 cells."""

ZEN = "zen" + PUBLISHED
SIZE = "params"
"""That every metric is held against."""
_HALF = 0.4

SETS = {"many": "cells", "few": "cells whose scores others published"}
_RESAMPLES = {"spearman": 1000, "kendall": 60, "pearson": 200}


def run(context: Context) -> None:
    """Correlate every metric on either set with every accuracy."""
    assert context.dataset is not None
    cells = open_cells(context.dataset)
    size = int(cells.many.sum())
    looked_at = "+".join(_names(cells, cells.few))
    if context.recorded(architectures=size, metrics=looked_at):
        return
    common = {"architectures": size, "metrics": looked_at, "final_is": cells.final_is}
    rows: list[Row] = []
    for which, chosen in cells.sets.items():
        common |= {"set": which, "cells": cells.told(chosen)}
        rows += [{"what": "ceiling", **row, **common} for row in _ceilings(cells, chosen, context.seed)]
        targets = _targets(cells) if which == "many" else {FINAL: cells.final}
        for name in _names(cells, chosen):
            context.say(f"{context.dataset}: {name}, {which}")
            scores = cells.merits(name, context.seed)
            for target, accuracies in targets.items():
                for share in SHARES:
                    known = {"what": "score", "metric": name, "target": target, "share": share, **common}
                    rows.append({**known, **_coefficients(cells, chosen, scores, accuracies, share, context)})
        rows += [{"what": "difference", **row, **common} for row in _differences(cells, chosen, context)]
    context.record(*rows)


FINAL = "final"


def _targets(cells: Cells) -> dict[str, Vector]:
    """Accuracies by name: the final one, and validation accuracies of all trainings that it is not."""
    valid = {f"valid {epochs}": cells.valid[:, place] for place, epochs in enumerate(cells.ladder)}
    return {FINAL: cells.final} | {name: one for name, one in valid.items() if not np.array_equal(one, cells.final)}


def _names(cells: Cells, chosen: NDArray[np.bool_]) -> list[str]:
    """Metrics that have a score of nearly every cell of a set, and zen as published, which has of half of some."""
    candidates = [*cells.metrics, *(name + PUBLISHED for name in OTHERS), RANDOM]
    return [name for name in candidates if cells.covers(name, chosen, _HALF if name == ZEN else None)]


def _coefficients(
    cells: Cells, chosen: NDArray[np.bool_], scores: Vector, target: Vector, share: float, context: Context
) -> Row:
    places = np.flatnonzero(chosen & ~np.isnan(scores))
    places = places[top(target[places], share)]
    row: Row = {"n": len(places), "failed": int(np.isneginf(scores[places]).sum())}
    for name in COEFFICIENTS:
        resamples = _RESAMPLES[name] // (10 if context.quick else 1)
        one = interval_by_groups(name, scores[places], target[places], cells.classes[places], resamples, context.seed)
        row |= {name: or_none(one.value), f"{name}_interval": [or_none(one.low), or_none(one.high)]}
        row[f"{name}_batches"] = [row[name]]
    return row


def _differences(cells: Cells, chosen: NDArray[np.bool_], context: Context) -> Iterable[Row]:
    """By how much metrics that have all cells of a set rank better than their size does, in the same resamples."""
    places = np.flatnonzero(chosen)
    resamples = _RESAMPLES["spearman"] // (10 if context.quick else 1)

    def of(name: str) -> tuple[float, Vector]:
        scores, target = cells.merits(name, context.seed)[places], cells.final[places]
        found = resampled_by_groups("spearman", scores, target, cells.classes[places], resamples, context.seed)
        return spearman(scores, target), found

    value, resampled = of(SIZE)
    for name in _names(cells, chosen):
        if name != SIZE and cells.scored(name)[places].all():
            own, found = of(name)
            interval = [or_none(one) for one in between_95(found - resampled)]
            yield {"metric": name, "above_size": or_none(own - value), "interval": interval}


def _ceilings(cells: Cells, chosen: NDArray[np.bool_], seed: int) -> Iterable[Row]:
    """Spearman of accuracies with accuracies: what a score could reach that knew as much as another training."""
    for share in SHARES:
        places = np.flatnonzero(chosen)
        places = places[top(cells.final[places], share)]
        for epochs, column in zip(cells.ladder, cells.valid.T, strict=True):
            if not np.array_equal(column, cells.final):
                told = f"validation accuracy, {epochs} epochs"
                yield _ceiling(told, share, column[places], cells.final[places])
        if cells.dataset != "nasbench101":
            one = cells.column("test", cells.ladder[-1])
            yield _ceiling("one run (of the mean's)", share, one[places], cells.final[places])
        first, second = pairs(cells.classes, places, seed)
        if len(first) > 2:
            yield _ceiling("an isomorphic cell", share, cells.final[first], cells.final[second])


def pairs(
    classes: NDArray[np.int64], places: NDArray[np.int64], seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Two cells of every class that has two: places, int64 (classes,) each.

    Args:
        classes: int64 (cells,).
        places: int64 (chosen,): of the cells to take them of.
        seed: Draws them.
    """
    mixed = np.random.default_rng(seed).permutation(places)
    order = mixed[np.argsort(classes[mixed], kind="stable")]
    alike = classes[order]
    first = np.flatnonzero(np.append(True, alike[1:] != alike[:-1]))
    several = first[np.append(alike, -1)[first + 1] == alike[first]]
    return order[several], order[several + 1]


def _ceiling(what: str, share: float, a: Vector, b: Vector) -> Row:
    return {"of": what, "share": share, "n": len(a), "spearman": or_none(spearman(a, b))}


def summarise(document: Document) -> list[str]:
    """One line a metric and set, the published figure beside it."""
    rows, dataset = newest(document), document.settings["dataset"]
    lines = [f"{TITLES[dataset]}; {rows[0]['final_is']}. {SCHEDULES}"]
    for which, title in SETS.items():
        own = found(rows, set=which)
        if not own:
            continue
        lines.append(
            f" {own[0]['cells']} ({title}): Spearman [95 % over classes], best 50 %, best 10 %; Kendall, Pearson"
        )
        for name in _in_order(own):
            whole, half, tenth = (_row(own, name, FINAL, share) for share in SHARES)
            value = STUDY.get(dataset, {}).get(name)
            beside = f"  published, all cells: {value:.3f}" if value and which == "many" else ""
            lines.append(
                f"  {name:24}{shown(whole['spearman'])} [{between(*whole['spearman_interval'])}]"
                f"{shown(half['spearman'])}{shown(tenth['spearman'])};{shown(whole['kendall'])}{shown(whole['pearson'])}"
                + beside
            )
            others = [(row["target"], row["spearman"]) for row in found(own, what="score", metric=name, share=1.0)]
            if which == "many" and name in ("jacflow", ZEN, SIZE):
                parts = (f"{target} {shown(value).strip()}" for target, value in others if target != FINAL)
                lines.append(f"    {name} with {', '.join(parts)}")
        above = [
            f"{row['metric']} {shown(row['above_size']).strip()} [{between(*row['interval'])}]"
            for row in found(own, what="difference")
            if row["metric"] != RANDOM and row["above_size"] is not None
        ]
        lines.append(f"  above {SIZE} by: {', '.join(above)}")
        for of in dict.fromkeys(row["of"] for row in found(own, what="ceiling")):
            values = [found(own, what="ceiling", of=of, share=share) for share in SHARES]
            parts = (shown(one[0]["spearman"]) if one else "   none" for one in values)
            lines.append(f"  reached by {of:36}{' '.join(parts)}")
    return lines


def draw(document: Document) -> Mapping[str, Figure]:
    """Every metric's coefficients by part of the space: of many cells, and of the few with every metric."""
    rows, dataset = newest(document), document.settings["dataset"]
    figures = {"": _shares(found(rows, set="many"), dataset)}
    few = found(rows, set="few")
    return figures | ({"few": _shares(few, dataset)} if few else {})


def _shares(rows: Sequence[Row], dataset: str) -> Figure:
    names = _in_order(rows)[::-1]
    figure, axes = plots.panels(len(SHARES), width=3.5, height=max(2.4, 0.24 * len(names) + 1.2))
    targets = list(dict.fromkeys(row["target"] for row in found(rows, what="score")))
    for axis, share in zip(axes, SHARES, strict=True):
        for place, target in enumerate(targets):
            label = (
                rows[0]["final_is"]
                if target == FINAL
                else f"{target.replace('valid', 'validation accuracy,')} epochs, one run (%)"
            )
            offset = 0.3 - 0.6 * place / max(1, len(targets) - 1) if len(targets) > 1 else 0.0
            dots(axis, [_row(rows, name, target, share) for name in names], "spearman", offset, place, label)
        study = STUDY.get(dataset, {})
        if share == 1.0 and study and rows[0]["set"] == "many":
            axis.plot([study.get(name, np.nan) for name in names], range(len(names)), "D", color="black",
                      markerfacecolor="none", markersize=6, label="published, all 15,625 cells")  # fmt: skip
        for line, row in enumerate(found(rows, what="ceiling", share=share)):
            if row["spearman"] is not None:
                axis.axvline(row["spearman"], color="#666666", linewidth=1, linestyle=(0, (1 + 2 * line, 1 + line)),
                             label=f"reached by {row['of']}" if share == 1.0 else None)  # fmt: skip
        axis.set_xlabel("Spearman with accuracy")
        counts = {name: _row(rows, name, FINAL, share)["n"] for name in names}
        axis.set_title(f"{'all' if share == 1 else f'best {share:.0%}'} ({max(counts.values()):,})")
        partly = {name: f"{name}, {n:,}" for name, n in counts.items() if n < max(counts.values())}
        name_rows(axis, [partly.get(name, name) for name in names], CONTROLS, axis is axes[0])
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=7)
    title = heading(100, f"{TITLES[dataset]}: {rows[0]['cells']}. Bars: 95 % over classes.", SCHEDULES)
    figure.suptitle(title, fontsize=8.5, x=0.01, ha="left")
    return figure


def _row(rows: Sequence[Row], name: str, target: str, share: float) -> Row:
    return found(rows, what="score", metric=name, target=target, share=share)[0]


def _in_order(rows: Sequence[Row]) -> list[str]:
    """Metrics by their Spearman with the final accuracy, best first; those without any last."""
    names = dict.fromkeys(row["metric"] for row in found(rows, what="score"))
    values = {name: _row(rows, name, FINAL, 1.0)["spearman"] for name in names}
    return sorted(names, key=lambda name: 2.0 if values[name] is None else -values[name])
