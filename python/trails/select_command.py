"""``python -m trails --budget 100 --dataset frappe``: a whole selection outside the database, and its log."""

from __future__ import annotations

import argparse
import contextlib
import json
import shlex
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from trails import __version__
from trails.errors import InvalidInput, TrailsError, shown

if TYPE_CHECKING:
    from trails.progress_bar import ProgressBar
    from trails.selection import Selection
    from trails.settings import Settings
    from trails.table.columns import Columns
    from trails.table.split import ByColumns

SUMMARY = "select a model outside the database, within a budget"

_SHOWN = 10
_QUIET = ("alive", "progress")
"""Events that come too often for a log."""


def declare(command: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    command.epilog = """\
"select" may be left out: python -m trails --budget 100 --dataset frappe

The rows are those of the dataset's files (found as by the command load), or with --dsn those of the
tables NAME_train, NAME_valid and NAME_test, of which the last two may be missing. The budget begins with the
command and covers reading, ranking and training; test rows are read and predicted afterwards.

Every step, epoch and candidate is written to LOGS/NAME_TIME_seedN.log; the result, also to standard
output.

exit status: 0; 2 bad arguments or data; 1 any other error; 130 interrupted

examples:
  python -m trails --budget 100 --dataset frappe
  python -m trails select --dataset orders --dsn postgresql://localhost/shop --target paid --save paid.safetensors
"""
    command.add_argument(
        "--dataset", required=True, metavar="NAME", help="frappe, uci_diabetes, criteo; or the tables' name"
    )
    command.add_argument("--budget", type=float, default=60.0, metavar="S", help="seconds (default: 60)")
    command.add_argument("--dir", type=Path, metavar="D", help="the folder that holds the dataset, as for load")
    command.add_argument("--dsn", metavar="URI", help="read tables of this database instead of files")
    command.add_argument("--target", default="label", metavar="COLUMN", help="(default: label)")
    command.add_argument("--task", metavar="T", help="binary, multiclass or regression (default: as the target is)")
    command.add_argument("--tfmem", default="expressflow", metavar="M", help="metrics that rank (default: expressflow)")
    command.add_argument("--space", default="mlp4x20", metavar="SPACE", help="architectures (default: mlp4x20)")
    command.add_argument("--refinement", default="sh", metavar="R", help="sh, sj, ua or hyperband (default: sh)")
    command.add_argument("--metric", metavar="M", help="that candidates are compared by (default: as the task has it)")
    for name, of_which in (
        ("group-by", "its groups are held out as a whole"),
        ("time-by", "the latest rows by it are held out"),
        ("weight", "what a row counts for"),
    ):
        command.add_argument(f"--{name}", metavar="COLUMN", help=f"of the tables of --dsn: {of_which}; no feature")
    for name, what in (
        ("n", "architectures to score (default: the whole space, or what the time holds)"),
        ("k", "candidates to train (default: what the time holds)"),
        ("u", "epochs of the first rung (default: what the time holds)"),
    ):
        command.add_argument(f"--{name}", type=int, metavar=name.upper(), help=what)
    command.add_argument("--batch-size", type=int, default=32, metavar="N", help="rows that metrics read (default: 32)")
    command.add_argument("--seed", type=int, default=1, metavar="N", help="(default: 1)")
    command.add_argument("--options", metavar="JSON", help="of training, such as '{\"dropout\": 0.1}'")
    command.add_argument("--device", default="auto", metavar="D", help="auto, cpu, cuda, cuda:N (default: auto)")
    command.add_argument("--threads", type=int, default=0, metavar="N", help="CPU threads (default: all cores)")
    command.add_argument("--logs", type=Path, default=Path("logs_default"), metavar="D", help="(default: logs_default)")
    command.add_argument("--save", type=Path, metavar="FILE", help="write the model to this file (safetensors)")


def run(options: argparse.Namespace) -> None:
    """Select, test, log."""
    from trails.settings import Settings

    started = time.monotonic()
    training = _json(options.options)
    settings = Settings(
        budget=options.budget,
        task=options.task,
        space=options.space,
        tfmem=options.tfmem,
        refinement=options.refinement,
        n=options.n,
        k=options.k,
        u=options.u,
        metric=options.metric,
        group_by=options.group_by,
        time_by=options.time_by,
        weight=options.weight,
        batch_size=options.batch_size,
        seed=options.seed,
        options=training,
        device=options.device,
        threads=options.threads,
    )
    with _Log.open(options.logs, f"{options.dataset}_", f"_seed{options.seed}", started) as log:
        log.say(f"trails {__version__}: {shlex.join(sys.argv[1:])}")
        log.note("settings", asdict(settings))
        try:
            _select(options, settings, log, started)
        except BaseException as error:
            log.note("failed", {"error": type(error).__name__, "message": str(error)})
            raise


def _select(options: argparse.Namespace, settings: Settings, log: _Log, started: float) -> None:
    from trails import progress_bar
    from trails.selection import select

    source = (
        _Tables(options.dsn, options.dataset, options.target, settings.by, settings.options)
        if options.dsn
        else _Files(options)
    )
    train = source.read("train", None)
    validation = source.read("valid", train)
    assert train is not None, "a source without training rows is an error"
    held = "some held out" if validation is None else f"{validation.rows:,} for validation"
    features = len([column for column in train.without(options.target) if column.name not in settings.by.no_features])
    log.say(f"{source.name}: {train.rows:,} rows, {features} features; {held}")
    with contextlib.ExitStack() as kept:
        if sys.stderr.isatty() and progress_bar.is_available():
            log.bar = kept.enter_context(progress_bar.ProgressBar(settings.budget, started))
        found = select(train, options.target, validation, settings, hear=log.hear, started=started)
    log.bar = None
    log.note("left_out", found.left_out)
    log.note("timings", found.timings)
    for row in found.leaderboard:
        log.note("candidate", row)
    for warning in found.warnings:
        log.say(f"warning: {warning}")
    if found.fault is not None:
        log.say(f"warning: {found.fault}; the model is the best of what had finished")
    best = found.leaderboard[0]
    told: dict[str, Any] = {
        "architecture": best["architecture"],
        **{f"validation_{name}": value for name, value in found.model.metrics.items()},
        "epochs": best["epochs"],
        "trained": len(found.leaderboard),
        "scored": found.scored,
        "seconds": found.seconds,
    }
    log.say(f"{found.seconds:.1f} of {settings.budget:g} s used")
    test = source.read("test", train)
    if test is not None:
        measured, odd = measure(found, train, test)
        told |= {f"test_{name}": value for name, value in measured.items()}
        if odd is not None:
            log.say(f"warning: {odd}")
    if options.save is not None:
        options.save.write_bytes(found.model.to_bytes())
        log.say(f"the model is in {options.save}")
    log.note("result", told)
    for place, row in enumerate(found.leaderboard[:_SHOWN], 1):
        print(f"{place}\t{row['architecture']}\t{found.metric} {row['validation_metric']:.5f}\t{row['epochs']} epochs")
    print("\t".join(f"{name} {_shown(value)}" for name, value in told.items()))
    print(f"log: {log.path}")


def measure(found: Selection, train: Columns, test: Columns) -> tuple[dict[str, float], str | None]:
    """Metrics of the winner on test rows, none if these tell nothing apart; see `trails.refinement.metrics.report`.

    Returns:
        The metrics, and what a person should know of the rows if there is anything.
    """
    import numpy as np

    from trails.refinement.incumbent import in_terms_of
    from trails.refinement.metrics import report
    from trails.table.target import learn_target, leave_unknown_out, with_keys
    from trails.table.usual import EVERYTHING

    target = found.model.target
    asked = None if found.metric == target.metric else found.metric
    # The model knows its classes' names; which values those are, the training rows tell. A number it may know by its
    # logarithm, which not every test row has.
    if target.task == "regression":
        learnt = replace(learn_target(train[target.name], target.task), usual=EVERYTHING)
    else:
        learnt = with_keys(train[target.name], target)
    known, warning = leave_unknown_out(learnt, test[target.name], "test")
    rows = test if warning is None else test.take(np.flatnonzero(known))
    labels = learnt.labels(rows[target.name])
    if not len(labels) or (labels == labels[0]).all():
        return {}, warning or f'the target "{shown(target.name)}" is the same in all {len(labels)} test rows'
    outputs = in_terms_of(learnt, found.model, found.model.outputs(rows))
    return report(learnt, labels != 0 if target.task == "binary" else labels, outputs, asked), warning


class _Files:
    """The splits of a dataset's files."""

    def __init__(self, options: argparse.Namespace) -> None:
        from trails.loading.columns import LABEL
        from trails.loading.sources import find_dataset

        if options.target != LABEL:
            raise InvalidInput(f'the files have the target "{LABEL}" and no other', hint="Leave --target out.")
        self._dataset = find_dataset(options.dataset, options.dir, say=lambda text: print(text, file=sys.stderr))
        self.name = f"{self._dataset.name}, from {self._dataset.source}"

    def read(self, split: str, like: Columns | None) -> Columns | None:
        from trails.loading.columns import dataset_columns

        return dataset_columns(self._dataset, split)


class _Tables:
    """The splits as tables of a database."""

    def __init__(
        self, dsn: str, name: str, target: str, by: ByColumns, options: Mapping[str, Any] | None = None
    ) -> None:
        from trails.table.texts import OfTexts
        from trails.training.options import parse_options

        self._dsn, self._table, self._target = dsn, name, target
        self._by, said = by.no_features, parse_options(options)
        self._of_texts = OfTexts(frozenset(said.texts), frozenset(said.id_values)).with_labels(by.labels)
        self.name = f"tables {name}_*"

    def read(self, split: str, like: Columns | None) -> Columns | None:
        from trails.service.catalogue import connected
        from trails.service.reader import key_of, read_table
        from trails.table.columns import Columns

        table = f"{self._table}_{split}"
        names = None if like is None else [column.name for column in like]
        with connected(self._dsn) as connection:
            try:
                keys = key_of(connection, table) - {self._target, *self._by}
                aside = {*keys, *self._by}
                found, _ = read_table(
                    connection, table, names, target=self._target, like=like, aside=aside, of_texts=self._of_texts
                )
            except InvalidInput as error:
                if error.sqlstate == "42P01" and split != "train":
                    return None
                raise
            if like is not None:
                return found
            return Columns(found.rows, tuple(column for column in found if column.name not in keys))


class _Log:
    """A file of lines: time, seconds since the start, and words or an event as JSON."""

    def __init__(self, path: Path, file: TextIO, started: float) -> None:
        self.path, self._file, self._started = path, file, started
        self.bar: ProgressBar | None = None

    @classmethod
    def open(cls, folder: Path, before: str, after: str, started: float) -> _Log:
        """A new log in a folder that is made if it is not there."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(1000):
                stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S") + (f"_{number}" if number else "")
                path = folder / f"{before}{stamp}{after}.log"
                try:
                    return cls(path, path.open("x", buffering=1), started)
                except FileExistsError:
                    continue
            raise TrailsError(f"{folder} is full of logs of this second")
        except OSError as error:
            raise InvalidInput(
                f"no log can be written in {folder}", error.strerror, "Name another with --logs."
            ) from error

    def __enter__(self) -> _Log:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def say(self, text: str) -> None:
        """Words, for the log and for whoever waits."""
        print(text, file=sys.stderr, flush=True)
        self._write(text)

    def note(self, name: str, value: Any) -> None:
        """A value, for the log alone."""
        self._write(f"{name} {json.dumps(value, default=str)}")

    def hear(self, event: Mapping[str, Any]) -> None:
        """What a selection tells."""
        from trails.selection import line_of

        if event["event"] not in _QUIET:
            self.note(event["event"], {name: value for name, value in event.items() if name != "event"})
        if self.bar is not None:
            self.bar(event)
        elif (text := line_of(event)) is not None:
            print(text, file=sys.stderr, flush=True)

    def _write(self, text: str) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._file.write(f"{now} {time.monotonic() - self._started:9.3f} {text}\n")


def _json(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        given = json.loads(text)
    except ValueError as error:
        raise InvalidInput("--options is not JSON", str(error)) from error
    if not isinstance(given, dict):
        raise InvalidInput("--options is a JSON object", hint="For instance '{\"dropout\": 0.1}'.")
    return given


def _shown(value: Any) -> str:
    return f"{value:.5f}" if isinstance(value, float) else str(value)
