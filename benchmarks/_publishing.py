"""Copies the figures of finished runs into the documents."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from benchmarks import harness
from benchmarks.harness import Document
from trails.errors import InvalidInput

FOLDER = harness.ROOT / "docs" / "study"
LARGEST = 150_000
"""Bytes that a published figure may have: they lie in the repository."""


def publish(document: Document, figures: Sequence[Path], folder: Path | None = None) -> list[str]:
    """Copy a run's SVG figures to ``NAME-DATASET[-suffix].svg``, or ``NAME[-suffix].svg`` where no data are used.

    Args:
        document: Of the run.
        figures: What was drawn of it.
        folder: Where published figures lie; None for `FOLDER`.

    Returns:
        Lines that name the files.

    Raises:
        InvalidInput: The run is a reduced one, has another seed than 0 or was not finished, or a figure is too large;
            nothing is copied then.
    """
    check_publishable(document.quick, document.settings["seed"])
    if not document.sessions or "finished" not in document.sessions[-1]:
        raise InvalidInput(f"the run in {document.path} was not finished", hint="Run it again: it goes on.")
    drawn = [figure for figure in figures if figure.suffix == ".svg"]
    for figure in drawn:
        if figure.stat().st_size > LARGEST:
            raise InvalidInput(
                f"{figure} has {figure.stat().st_size:,} bytes, and a published figure at most {LARGEST:,}",
                hint="Draw many points with rasterized=True.",
            )
    folder = FOLDER if folder is None else folder
    folder.mkdir(parents=True, exist_ok=True)
    stem, dataset = document.path.stem, document.settings["dataset"]
    lines = []
    for figure in drawn:
        suffix = figure.stem.removeprefix(stem)
        name = "-".join([document.experiment, *([dataset] if dataset else [])]) + suffix
        shutil.copyfile(figure, folder / f"{name}.svg")
        lines.append(f"published: {folder / f'{name}.svg'}")
    return lines


def check_publishable(quick: bool, seed: int) -> None:
    """Refuse what is no run to be published.

    Raises:
        InvalidInput: It is a reduced run, or one of another seed.
    """
    if quick:
        raise InvalidInput("a reduced run (--quick) is not published", hint="Leave --quick away.")
    if seed != 0:
        raise InvalidInput(f"what is published has seed 0, not {seed}", hint="Leave --seed away.")
