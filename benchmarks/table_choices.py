"""What each choice of training is worth on tables as people have them, and how long to wait for a better epoch."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from benchmarks import plots
from benchmarks.harness import Context, Document, Row, run_pinned
from benchmarks.tables import DATASETS as DATASETS
from benchmarks.tables import TABLES, folder
from trails.errors import InvalidInput

ARCHITECTURE = (256, 128, 64, 32)
VARIANTS: Mapping[str, tuple[int, Mapping[str, Any]]] = {
    "defaults": (1, {}),
    "no linear path": (1, {"linear_path": False}),
    "dropout 0.3": (1, {"dropout": 0.3}),
    "learning rate halved": (1, {"learning_rate": 1e-3}),
    "learning rate doubled": (1, {"learning_rate": 4e-3}),
    "bins": (1, {"numbers_as": "bins"}),
    "8 members": (8, {}),
}
"""Members of the network, and what else differs from the defaults."""

PATIENCES = (2, 3, 4, 5, 6, 8, 12)
_EPOCHS, _SEEDS = 25, 2


def run(context: Context) -> None:
    """Train what is not recorded yet."""
    table = context.dataset or DATASETS[0]
    seeds, epochs = (1, 3) if context.quick else (_SEEDS, _EPOCHS)
    for seed in range(context.seed + 1, context.seed + 1 + seeds):
        for variant in list(VARIANTS)[:2] if context.quick else VARIANTS:
            if context.recorded(variant=variant, run_seed=seed):
                continue
            context.say(f"{table}: {variant}, seed {seed}")
            members, options = VARIANTS[variant]
            found = run_pinned(
                "benchmarks.table_choices:train",
                table=table,
                members=members,
                options=dict(options),
                epochs=epochs,
                seed=seed,
            )
            context.record({"variant": variant, "run_seed": seed, **found})


def train(table: str, members: int, options: Mapping[str, Any], epochs: int, seed: int) -> Row:
    """Train one network and judge it after every epoch.

    Args:
        table: Its name.
        members: Of the network.
        options: Of training.
        epochs: Of training; none is its last for want of patience.
        seed: Of the hold-out and of training.

    Returns:
        ``curve``: of every epoch the validation rows' metric and loss and the test rows' metric; ``seconds``: of one.
    """
    from trails.refinement import process

    process.prepare()
    import pandas as pd
    import torch

    from trails.family import MLP
    from trails.refinement.clock import MONOTONIC
    from trails.refinement.dataset import encoded_rows, prepare
    from trails.refinement.metrics import measure
    from trails.refinement.protocol import Candidate
    from trails.refinement.trial import Trial
    from trails.selector_columns import features_of, given_arrays
    from trails.training.options import parse_options

    target, _ = TABLES[table]
    frame = pd.read_csv(folder() / f"{table}.csv.xz")
    parts = {part: frame[frame["part"] == part].drop(columns=["row_id", "part"]) for part in ("train", "test")}
    features = {part: rows.drop(columns=[target]) for part, rows in parts.items()}
    given = given_arrays(features["train"], parts["train"][target].to_numpy(), None, "table")
    chosen = parse_options(options)
    data = prepare(given.train, None, given.target, seed, torch.device("cpu"), options=chosen)

    readings = {column.name: column.reading for column in given.train}
    seen, _ = features_of(features["test"], given.seen, "table", readings.get)
    answers = given_arrays(features["test"], parts["test"][target].to_numpy(), None, "table").train[given.target]
    test = encoded_rows(data.encoder, seen, data.target.labels(answers), data.target, torch.device("cpu"))

    trial = Trial.of(MLP, Candidate(MLP.format(ARCHITECTURE), ARCHITECTURE, None), data.shape(chosen), seed)
    trial = trial if members == 1 else trial.with_members(members) or trial
    names = [trial.architecture]
    stack = trial.networks.stack([trial.layout], [trial.begin()], data.train, chosen, seed, names, data.target.task)
    curve, seconds = [], []
    for epoch in range(1, epochs + 1):
        began = MONOTONIC.now()
        stack.train_epoch(epoch, lambda share: True)
        seconds.append(MONOTONIC.now() - began)
        found = []
        for rows in (data.validation, test):
            outputs = stack.predict(rows)
            if outputs is None:
                raise InvalidInput("a prediction was given up")
            found += measure(data.target, rows.truth, outputs[0].numpy())
        curve.append(found[:3])
    return {"curve": curve, "seconds": statistics.median(seconds), "metric": data.target.metrics[0]}


def waited(curve: Sequence[Sequence[float]], patience: int) -> tuple[float, int]:
    """The test metric of the epoch that is best by validation, and the epochs that were trained to know it.

    Args:
        curve: Of each epoch, validation metric, validation loss, test metric.
        patience: Epochs without a better one after which training ends.
    """
    best = 0
    for epoch, (metric, loss, _) in enumerate(curve):
        if (metric, -loss) > (curve[best][0], -curve[best][1]):
            best = epoch
        if epoch - best >= patience:
            return curve[best][2], epoch + 1
    return curve[best][2], len(curve)


def _tests(document: Document, variant: str) -> list[float]:
    """Of each seed, at the best epoch of all."""
    rows = sorted(document.select(variant=variant), key=lambda row: row["run_seed"])
    return [waited(row["curve"], len(row["curve"]))[0] for row in rows]


def _variants(document: Document) -> list[str]:
    recorded = {row["variant"] for row in document.rows}
    return [variant for variant in VARIANTS if variant in recorded]


def summarise(document: Document) -> list[str]:
    """Per variant the test metric and what an epoch takes; per patience what it gives and costs."""
    rows = document.select(variant="defaults")
    epochs = len(rows[0]["curve"])
    lines = [f"{document.settings['dataset']}, test {rows[0]['metric']} of the best of {epochs} epochs by validation:"]
    base, seconds = statistics.fmean(_tests(document, "defaults")), statistics.median(r["seconds"] for r in rows)
    for variant in _variants(document):
        tests = _tests(document, variant)
        mean, took = statistics.fmean(tests), statistics.median(r["seconds"] for r in document.select(variant=variant))
        lines.append(
            f"  {variant:24} {mean:.4f} ({mean - base:+.4f}; {min(tests):.4f} to {max(tests):.4f}), "
            f"an epoch {took / seconds:.1f} times as long"
        )
    for patience in PATIENCES:
        found = [waited(row["curve"], patience) for row in rows]
        test, trained = (statistics.fmean(values) for values in zip(*found, strict=True))
        lines.append(f"  patience {patience:<3} {test:.4f} after {trained:.0f} epochs")
    return lines


def draw(document: Document) -> Mapping[str, Figure]:
    """What each variant gains, every seed a dot; and what patience gives."""
    figure, (left, right) = plots.panels(2, width=4.2, height=3.6)
    base = _tests(document, "defaults")
    variants = [variant for variant in _variants(document) if variant != "defaults"]
    for place, variant in enumerate(variants):
        gains = [other - own for other, own in zip(_tests(document, variant), base, strict=False)]
        left.plot(gains, [place] * len(gains), "o", color=plots.COLOURS[0], markersize=3, alpha=0.6)
        left.plot([statistics.fmean(gains)], [place], "|", color=plots.COLOURS[1], markersize=14)
    left.axvline(0.0, color="black", linewidth=0.8)
    left.set_yticks(range(len(variants)), variants)
    left.invert_yaxis()
    rows = document.select(variant="defaults")
    left.set_xlabel(f"test {rows[0]['metric']} less that of the defaults")
    left.set_title(str(document.settings["dataset"]))
    for row in rows:
        right.plot(PATIENCES, [waited(row["curve"], patience)[0] for patience in PATIENCES], color="grey", alpha=0.4)
    means = [statistics.fmean(waited(row["curve"], patience)[0] for row in rows) for patience in PATIENCES]
    right.plot(PATIENCES, means, "o-", color=plots.COLOURS[1])
    right.set_xlabel("patience, epochs")
    right.set_ylabel(f"test {rows[0]['metric']}")
    return {"": figure}
