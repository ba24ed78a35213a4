"""Where a dataset comes from: a folder, the public homes, or the small table that scikit-learn ships."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from trails.errors import InvalidInput, TrailsError
from trails.loading import small
from trails.loading.download import HOMES, Home, NotAvailable, download
from trails.loading.fields import LONGEST_NAME, Fields, read_fields

SPLITS = ("train", "valid", "test")
KNOWN = ("frappe", "uci_diabetes", "criteo", small.NAME)
_SUFFIXES = ("", ".xz", ".gz")


@dataclass(frozen=True)
class Dataset:
    """A dataset that is here, ready to be read.

    Attributes:
        name: Its name, and the first part of its tables' names.
        files: The LibSVM file of each split.
        fields: From fields.tsv, or None where there is none.
        source: Where it comes from, in words for people.
    """

    name: str
    files: Mapping[str, Path]
    fields: Fields | None
    source: str


def find_dataset(
    name: str,
    directory: Path | None = None,
    *,
    substitute: bool = False,
    homes: Mapping[str, Home] = HOMES,
    say: Callable[[str], None] = lambda _: None,
) -> Dataset:
    """Find a dataset, from the most to the least explicit source.

    1. ``directory`` (the dataset's own folder, or one that holds it by name); when given, the only source.
    2. The folder in the environment variable ``TRAILS_DATA``, in the same way.
    3. ``../shared/datasets`` beside the project (that of the current directory, then this package's).
    4. What was downloaded before (below ``TRAILS_HOME``), else a download from the dataset's public home.
    5. With ``substitute``: another, small real table, which scikit-learn ships; name and source say so.

    Raises:
        InvalidInput: A name that cannot be a table's, or a named folder without the dataset.
        NotAvailable: No source has it.
        MalformedLine: Its fields.tsv is malformed.
    """
    _check_name(name)
    if directory is not None:
        if (found := _in_folder(name, directory, f"--dir {directory}")) is None:
            raise InvalidInput(f"{directory} does not hold the dataset {name}", hint=_what_a_folder_holds(name))
        return found
    for folder, source in _folders():
        if (found := _in_folder(name, folder, source)) is not None:
            return found
    try:
        if name == small.NAME:
            small.write(cache_folder() / name)
            return _of_cache(name, f"scikit-learn's copy of the {small.TITLE}")
        home = download(name, cache_folder() / name, homes=homes, say=say)
        return _of_cache(name, f"{home.url} ({home.terms})")
    except NotAvailable as error:
        if not substitute or name == small.NAME:
            raise NotAvailable(error.message, hint=error.hint or _what_a_folder_holds(name, "--dir")) from None
        say(f"warning: {error.message}; taking {small.NAME} instead")
    small.write(cache_folder() / small.NAME)
    return _of_cache(small.NAME, f"scikit-learn's copy of the {small.TITLE}, since {name} is not available")


def cache_folder() -> Path:
    """The folder for downloaded and made datasets, below ``TRAILS_HOME``."""
    if home := os.environ.get("TRAILS_HOME"):
        return Path(home) / "datasets"
    if os.geteuid() == 0:
        return Path("/var/cache/trails/datasets")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trails" / "datasets"


def _folders() -> list[tuple[Path, str]]:
    folders: list[tuple[Path, str]] = []
    if data := os.environ.get("TRAILS_DATA"):
        if not Path(data).is_dir():
            raise InvalidInput(f"TRAILS_DATA names a folder that is not there: {data}")
        folders.append((Path(data), f"TRAILS_DATA ({data})"))
    here = Path.cwd()
    checkout = next((p for p in (here, *here.parents) if (p / ".git").exists()), here)
    for project in dict.fromkeys((checkout, Path(__file__).resolve().parents[3])):
        shared = project.parent / "shared" / "datasets"
        folders.append((shared, f"{shared}, beside the project"))
    return folders


def _in_folder(name: str, folder: Path, source: str) -> Dataset | None:
    for place in (folder, folder / name):
        files = {split: _file(place, split) for split in SPLITS}
        if all(files.values()):
            tsv = place / "fields.tsv"
            fields = read_fields(tsv) if tsv.is_file() else None
            return Dataset(name, {split: file for split, file in files.items() if file}, fields, source)
        if any(files.values()):
            missing = ", ".join(f"{split}.libsvm" for split, file in files.items() if file is None)
            raise InvalidInput(f"{place} holds only a part of {name}: {missing} not found")
    return None


def _file(place: Path, split: str) -> Path | None:
    return next((f for s in _SUFFIXES if (f := place / f"{split}.libsvm{s}").is_file()), None)


def _of_cache(name: str, source: str) -> Dataset:
    dataset = _in_folder(name, cache_folder() / name, source)
    if dataset is None:
        raise TrailsError(f"{cache_folder() / name} lost its files while they were being read")
    return dataset


def _check_name(name: str) -> None:
    longest = LONGEST_NAME - len("_train")
    if not name or "/" in name or "\0" in name or name in (".", "..") or len(name.encode()) > longest:
        raise InvalidInput(
            f"not a dataset's name: {name!r}", hint=f"It names tables: 1 to {longest} bytes, without a slash."
        )


def _what_a_folder_holds(name: str, option: str = "") -> str:
    folder = "A folder" if not option else f"Name a folder with {option} or TRAILS_DATA; it"
    others = "" if name in KNOWN else f" Known datasets: {', '.join(KNOWN)}."
    return (
        f"{folder} holds train.libsvm, valid.libsvm and test.libsvm (plain, .xz or .gz) and fields.tsv, "
        f"itself or in a folder {name}.{others}"
    )
