"""Published recordings of NAS-Bench-101 and NAS-Bench-201 made into the one form of `trails.bench.image.store`.

Of either benchmark there is an extract in text (``nasbench201_accuracy.csv.xz`` and so on), and the authors' own files:
`trails.bench.image.official` reads those of NAS-Bench-101, `trails.bench.image.nats` those of NAS-Bench-201.
"""

from __future__ import annotations

import csv
import hashlib
import lzma
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from trails.bench.image.nats import META, Cell, Training, digest_of_archive, read_archive, read_pth
from trails.bench.image.official import read_tfrecord
from trails.bench.image.rows import Rows, accuracy_row, architecture_row, number_of, score_row
from trails.bench.image.store import ImageSetting, write
from trails.errors import InvalidInput, UnusableData, shown
from trails.family.cell import counts101, nasbench101, nasbench201
from trails.family.design import Design
from trails.space import picture_space

DATASETS_201 = ("c10", "c100", "in16")
"""CIFAR-10, CIFAR-100, ImageNet16-120."""

_TFMEMS = {
    "synflow": "synflow",
    "nwot": "naswot",
    "jacov": "jacob_cov",
    "snip": "snip",
    "grad_norm": "grad_norm",
    "fisher": "fisher",
    "grasp": "grasp",
    "plain": "grad_plain",
    "epe_nas": "epe_nas",
    "l2_norm": "weight_norm",
    "params": "params",
    "flops": "flops",
}
"""By NASLib's name of a metric ours; `epe_nas` has none here."""

_NASLIB_101 = {0: nasbench101.INPUT, 1: nasbench101.OUTPUT, 2: "maxpool3x3", 3: "conv1x1-bn-relu", 4: "conv3x3-bn-relu"}


def convert(name: str, source: Path, folder: Path) -> int:
    """Make a benchmark of published files; how many cells it has.

    Args:
        name: ``nasbench101`` or ``nasbench201``.
        source: The folder that holds the extracts, or the official file or folder.
        folder: That the benchmark is written to.

    Raises:
        InvalidInput: There is no such benchmark, or no file of it.
        UnusableData: A file is damaged or of another version.
    """
    if name not in _EXTRACTS:
        raise InvalidInput(f"'{shown(name)}' is not published in files", hint=f"There are: {', '.join(_EXTRACTS)}.")
    if (source / META).exists() and name == "nasbench201":
        digests, tables = {source.name: digest_of_archive(source)}, _official_201(read_archive(source))
    elif source.is_file():
        digests, tables = {source.name: _digest(source)}, _official_file(name, source)
    else:
        names, read = _EXTRACTS[name]
        sources = [source / file for file in names]
        missing = [file.name for file in sources if not file.exists()]
        if missing:
            raise InvalidInput(
                f"{source} holds no {', '.join(missing)}", hint="Name the folder that the extracts are in."
            )
        digests, tables = {file.name: _digest(file) for file in sources}, read(*(_rows(file) for file in sources))
    if not tables["architecture"]:
        # What was converted before is not replaced by nothing.
        raise UnusableData(f"{source} holds no cell", hint="Fetch or unpack all of what was published.")
    write(folder, ImageSetting(name, digests), tables)
    return len(tables["architecture"])


def _official_file(name: str, file: Path) -> dict[str, Rows]:
    if name == "nasbench101":
        return _official_101(file)
    if file.suffix == ".pth":
        return _official_201(read_pth(file))
    raise InvalidInput(
        f"{file} cannot be read: it is no official form of {name} that is",
        hint="Name the folder NATS-tss-v1_0-3ffb9-simple, a .pth file, or the folder that holds "
        f"{', '.join(_EXTRACTS[name][0])}.",
    )


def _extract_201(accuracies: Iterator[Mapping[str, str]], scores: Iterator[Mapping[str, str]]) -> dict[str, Rows]:
    space = picture_space("nasbench201")
    architectures: Rows = []
    found: Rows = []
    published: Rows = []
    for number, row in enumerate(accuracies):
        design = space.parse(row["arch_str"])
        index = space.index(design)
        architectures.append(
            architecture_row(
                index, row["index"], row["arch_str"], nasbench201.parameters(design), nasbench201.flops(design)
            )
        )
        for dataset in DATASETS_201:
            for split, column in (("valid", "val"), ("test", "test")):
                found.append(accuracy_row(index, dataset, 12, split, "one", row[f"{dataset}_{column}_12"]))
                found.append(accuracy_row(index, dataset, 200, split, "one", row[f"{dataset}_{column}_200_seed"]))
            found.append(accuracy_row(index, dataset, 200, "test", "mean", row[f"{dataset}_test_200_mean"]))
            published.append(score_row(number, index, dataset, "zen", row[f"zen_{dataset}"]))
        found.append(accuracy_row(index, "c10", 200, "train", "one", row["c10_train_200"]))
    for number, row in enumerate(scores):
        design = nasbench201.from_naslib(tuple(int(part) for part in row["naslib_op_indices"].split("-")))
        for theirs, ours in _TFMEMS.items():
            seconds = number_of(row[f"{theirs}_seconds"])
            published.append(score_row(number, space.index(design), "c10", ours, row[theirs], seconds))
    return {"architecture": architectures, "accuracy": found, "published_score": published}


def _extract_101(accuracies: Iterator[Mapping[str, str]], scores: Iterator[Mapping[str, str]]) -> dict[str, Rows]:
    space = picture_space("nasbench101")
    architectures: Rows = []
    found: Rows = []
    published: Rows = []
    for number, row in enumerate(accuracies):
        index = space.index(space.parse(f"{row['ops']}.{row['adjacency_upper']}"))
        architectures.append(_cell_101(index, row["module_hash"]))
        for epochs in (4, 12, 36, 108):
            seconds = float(row["training_seconds_108"]) if epochs == 108 else None
            percent = 100.0 * float(row[f"val_acc_{epochs}"])
            found.append(accuracy_row(index, "c10", epochs, "valid", "one", percent, seconds))
        published.append(score_row(number, index, "c10", "zen", row["zen"]))
    for number, row in enumerate(scores):
        index = space.index(design_of_naslib_101(row["naslib_tuple"]))
        published += [
            score_row(number, index, "c10", ours, row[theirs]) for theirs, ours in _TFMEMS.items() if theirs in row
        ]
    return {"architecture": architectures, "accuracy": found, "published_score": published}


def design_of_naslib_101(text: str) -> Design:
    """The design that NASLib writes as 49 entries of a matrix and seven numbers of operations, joined by hyphens.

    Raises:
        UnusableData: It is not written so.
    """
    try:
        numbers = [int(part) for part in text.split("-")]
        matrix = [numbers[7 * row : 7 * row + 7] for row in range(7)]
        return nasbench101.from_matrix(matrix, [_NASLIB_101[number] for number in numbers[49:]])
    except (ValueError, KeyError, InvalidInput) as error:
        raise UnusableData(f"'{shown(text)}' is no cell as NASLib writes them") from error


def _official_101(file: Path) -> dict[str, Rows]:
    space = picture_space("nasbench101")
    architectures: dict[int, Mapping[str, Any]] = {}
    runs: dict[tuple[int, int], list[tuple[float, float, float, float]]] = {}
    for record in read_tfrecord(file):
        index = space.index(nasbench101.from_matrix(record.matrix, record.operations))
        if index not in architectures:
            architectures[index] = _cell_101(index, record.module_hash)
        runs.setdefault((index, record.epochs), []).append((record.train, record.valid, record.test, record.seconds))
    found: Rows = []
    for (index, epochs), several in runs.items():
        means = [sum(column) / len(several) for column in zip(*several, strict=True)]
        for kind, numbers in (("one", several[0]), ("mean", means)):
            for split, accuracy in zip(("train", "valid", "test"), numbers, strict=False):
                found.append(accuracy_row(index, "c10", epochs, split, kind, 100.0 * accuracy, numbers[3]))
    return {"architecture": list(architectures.values()), "accuracy": found, "published_score": []}


def _official_201(cells: Iterator[Cell]) -> dict[str, Rows]:
    """``one`` is the training with the lowest seed, the ``mean`` of all that there are."""
    space = picture_space("nasbench201")
    architectures: Rows = []
    found: Rows = []
    for cell in cells:
        design = space.parse(cell.text)
        index, counts = space.index(design), (nasbench201.parameters(design), nasbench201.flops(design))
        architectures.append(architecture_row(index, str(cell.number), cell.text, *counts))
        runs: dict[tuple[str, int, str], list[Training]] = {}
        for training in cell.trainings:
            for split in training.accuracies:
                runs.setdefault((training.dataset, training.epochs, split), []).append(training)
        for (dataset, epochs, split), several in runs.items():
            for kind, chosen in (("one", several[:1]), ("mean", several)):
                accuracy = sum(training.accuracies[split] for training in chosen) / len(chosen)
                seconds = [training.seconds for training in chosen if training.seconds is not None]
                average = sum(seconds) / len(seconds) if seconds else None
                found.append(accuracy_row(index, dataset, epochs, split, kind, accuracy, average))
    return {"architecture": architectures, "accuracy": found, "published_score": []}


def _cell_101(index: int, published: str) -> Mapping[str, Any]:
    # The form that was trained: another one may have a channel more in one vertex and one less in the next.
    space = picture_space("nasbench101")
    design = space.architecture(index)
    counts = counts101.parameters(design), counts101.flops(design)
    return architecture_row(index, published, space.format(design), *counts)


_Reader: TypeAlias = Callable[[Iterator[Mapping[str, str]], Iterator[Mapping[str, str]]], dict[str, Rows]]

_EXTRACTS: Mapping[str, tuple[Sequence[str], _Reader]] = {
    "nasbench101": (("nasbench101_multifidelity.csv.xz", "nasbench101_proxy_scores.csv.xz"), _extract_101),
    "nasbench201": (("nasbench201_accuracy.csv.xz", "nasbench201_proxy_scores_cifar10.csv.xz"), _extract_201),
}


class _Row(dict[str, str]):
    """Says which column a file lacks."""

    def __init__(self, file: Path, values: Mapping[str, str]) -> None:
        super().__init__(values)
        self._file = file

    def __missing__(self, name: str) -> str:
        raise UnusableData(
            f"{self._file} has no column '{name}'",
            detail=f"It has {', '.join(self)}.",
            hint="It is of another version.",
        )


def _rows(file: Path) -> Iterator[Mapping[str, str]]:
    try:
        with lzma.open(file, "rt", encoding="utf-8", newline="") as text:
            for line, row in enumerate(csv.DictReader(text), start=2):
                if None in row or None in row.values():
                    raise UnusableData(f"{file}:{line}: more or fewer values than there are columns")
                yield _Row(file, row)
    except (lzma.LZMAError, EOFError, UnicodeDecodeError) as error:
        raise UnusableData(f"{file} is damaged", detail=str(error)) from error


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as content:
        for part in _parts(content.read):
            digest.update(part)
    return digest.hexdigest()


def _parts(read: Callable[[int], bytes]) -> Iterable[bytes]:
    while part := read(1 << 20):
        yield part
