"""The files that NAS-Bench-201's author publishes, read without the project's own code.

``NATS-tss-v1_0-3ffb9-simple`` is a folder: ``meta.pickle.pbz2`` lists the cells, ``000000.pickle.pbz2`` and so on hold
what became of each, by the length of the training (``12``, ``200``), and within that by dataset and seed. It is read
through `trails.bench.image.plain_pickle`. ``NAS-Bench-201-v1_1-….pth`` is one file with the same content by other
names, which is read where PyTorch's reader of plain data can.

Cells of CIFAR-10 were trained twice: on half of the training pictures (``cifar10-valid``), for validation accuracies,
and on all of them (``cifar10``), for test accuracies. Of the losses, the curves and the latency nothing is kept.

Source: the interface published with Dong, Liu, Musial and Gabrys, NATS-Bench, arXiv:2009.00437 (api_utils.py).
"""

from __future__ import annotations

import bz2
import hashlib
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from trails.bench.image.plain_pickle import read_plain
from trails.errors import InvalidInput, UnusableData, shown
from trails.family.cell import nasbench201

META = "meta.pickle.pbz2"

EPOCHS: Mapping[str, int] = MappingProxyType({"12": 12, "200": 200, "less": 12, "full": 200})
"""Of a training, by what the folder and the one file call it."""

SPLITS: Mapping[str, tuple[str, Mapping[str, str]]] = MappingProxyType(
    {
        "cifar10-valid": ("c10", {"valid": "x-valid"}),
        "cifar10": ("c10", {"train": "train", "test": "ori-test"}),
        "cifar100": ("c100", {"train": "train", "valid": "x-valid", "test": "x-test"}),
        "ImageNet16-120": ("in16", {"train": "train", "valid": "x-valid", "test": "x-test"}),
    }
)
"""By what they call a dataset what it is called here, and what they call each split of it."""

_CELLS = 15_625
_LARGEST = 1 << 26
"""Bytes that a file holds at most once it is unpacked; one cell has less than two million."""

_OTHER_VERSION = "Read are NATS-tss-v1_0-3ffb9-simple (a folder) and NAS-Bench-201-v1_1 (.pth)."


@dataclass(frozen=True)
class Training:
    """One training of one cell.

    Args:
        dataset: ``c10``, ``c100`` or ``in16``.
        epochs: 12 or 200.
        seed: Of the training.
        accuracies: At its end, in percent, by split.
        seconds: Of its epochs, without evaluations. As they are recorded they were timed once, and stand for all epochs
            and seeds; None where there are none.
    """

    dataset: str
    epochs: int
    seed: int
    accuracies: Mapping[str, float]
    seconds: float | None


@dataclass(frozen=True)
class Cell:
    """What became of one cell.

    Args:
        number: That the files give it.
        text: The official one.
        trainings: By dataset, epochs and seed.
    """

    number: int
    text: str
    trainings: list[Training]


def read_archive(folder: Path) -> Iterator[Cell]:
    """Every cell that the folder has a file of, in the order of their numbers.

    Raises:
        UnusableData: A file is damaged, of another version, or asks for more than plain data.
    """
    meta = _unpacked(folder / META)
    try:
        cells = _texts(meta["meta_archs"])
    except (KeyError, TypeError) as error:
        raise UnusableData(f"{folder / META} lists no cells", hint=_OTHER_VERSION) from error
    for number, text in enumerate(cells):
        file = folder / f"{number:06d}.pickle.pbz2"
        if file.exists():
            yield _cell(number, text, _unpacked(file), str(file))


def digest_of_archive(folder: Path) -> str:
    """SHA-256 of the names and contents of all files of the folder that are read."""
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.pickle.pbz2")):
        digest.update(f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def read_pth(file: Path) -> Iterator[Cell]:
    """Every cell of the one file, in the order of their numbers.

    Raises:
        InvalidInput: PyTorch would have to run what the file names to read it.
        UnusableData: It is of another version.
    """
    import torch

    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # damage makes it raise whatever comes to its reader
        raise InvalidInput(
            f"{file} cannot be read without running what it names",
            detail=shown(str(error).splitlines()[0] if str(error) else type(error).__name__),
            hint="Take the folder NATS-tss-v1_0-3ffb9-simple of the same benchmark, which can.",
        ) from error
    try:
        cells, found = _texts(content["meta_archs"]), dict(content["arch2infos"])
    except (KeyError, TypeError, ValueError) as error:
        raise UnusableData(f"{file} lists no cells", hint=_OTHER_VERSION) from error
    for number, text in enumerate(cells):
        if number in found:
            yield _cell(number, text, found[number], f"cell {number} of {file}")


def _unpacked(file: Path) -> Any:
    try:
        with bz2.open(file) as stream:
            content = stream.read(_LARGEST + 1)
    except (OSError, EOFError) as error:
        raise UnusableData(f"{file} is damaged, or missing", detail=str(error)) from error
    if len(content) > _LARGEST:
        raise UnusableData(f"{file} is larger than a file of one cell", hint=_OTHER_VERSION)
    return read_plain(io.BytesIO(content), str(file))


def _texts(cells: Any) -> list[str]:
    """The cells that are listed.

    Raises:
        TypeError: That is no list of texts.
        UnusableData: They are not all cells of this benchmark.
    """
    if not isinstance(cells, list) or not all(isinstance(text, str) for text in cells):
        raise TypeError("no list of texts")
    try:
        different = {nasbench201.read(text) for text in cells}
    except InvalidInput as error:
        raise UnusableData(
            "the files are of other networks than cells of NAS-Bench-201", detail=error.message, hint=_OTHER_VERSION
        ) from error
    if len(different) < len(cells) or len(cells) > _CELLS:
        raise UnusableData("the files list a cell twice", hint=_OTHER_VERSION)
    return cells


def _cell(number: int, text: str, content: Any, what: str) -> Cell:
    try:
        trainings = []
        for name, results in content.items():
            if name not in EPOCHS:
                raise ValueError(f"trainings of {_told(name)}")
            if results["arch_str"] != text:
                raise ValueError(f"results of another cell: {_told(results['arch_str'])}")
            for (dataset, seed), result in results["all_results"].items():
                trainings.append(_training(dataset, EPOCHS[name], seed, result))
        if not trainings:
            raise ValueError("no trainings")
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        missing = f"no {_told(error.args[0])}" if isinstance(error, KeyError) else str(error)
        raise UnusableData(
            f"{what} is of another version", detail=f"It has {shown(missing)}.", hint=_OTHER_VERSION
        ) from (error)
    return Cell(number, text, sorted(trainings, key=lambda one: (one.dataset, one.epochs, one.seed)))


def _training(dataset: str, epochs: int, seed: int, result: Any) -> Training:
    name, splits = SPLITS[dataset]
    if result["epochs"] != epochs:
        raise ValueError(f"trainings of {_told(result['epochs'])} epochs among those of {epochs}")
    last, found = epochs - 1, {}
    for ours, theirs in splits.items():
        accuracies = result["train_acc1es"] if theirs == "train" else result["eval_acc1es"]
        found[ours] = _number(accuracies[last if theirs == "train" else f"{theirs}@{last}"])
        if not 0.0 <= found[ours] <= 100.0:
            raise ValueError(f"an accuracy of {found[ours]}")
    times = result["train_times"]
    seconds = None if times is None else math.fsum(_number(times[epoch]) for epoch in range(epochs))
    if seconds is not None and not seconds >= 0.0:
        raise ValueError(f"a training of {seconds} s")
    return Training(name, epochs, int(seed), found, seconds)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError(f"{_told(value)} in the place of a number")
    return float(value)


def _told(value: Any) -> str:
    """For messages: of a container its kind alone, since one that holds another twice, and so on, has a text of GB."""
    if isinstance(value, str):
        return repr(value)
    return shown(value) if isinstance(value, int | float | None) else f"a {type(value).__name__}"
