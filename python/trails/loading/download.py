"""Download a dataset from its public home, checked against the checksum that its home publishes.

Frappe and Diabetes130 are published, split and encoded, in the repository of ARM-Net (Cai et al., "ARM-Net:
Adaptive Relation Modeling Network for Structured Data", SIGMOD 2021). The files are pinned to one commit, and
git's own object ids serve as checksums. Their terms bind whoever downloads them: Frappe may not be
redistributed and is for research only.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from trails.errors import TrailsError
from trails.loading.fields import Fields

TIMEOUT_SECONDS = 10.0
"""Without any answer; a slow but steady download may take longer."""

_PIECE = 1 << 16
_ARM_NET = "https://raw.githubusercontent.com/nusdbsystem/ARM-Net/7aeb3a4b8f5401d78d1b428d5e6a25bda87caf92/data"


class NotAvailable(TrailsError):
    """A dataset that cannot be had from any of its sources (SQLSTATE 58030, io_error)."""

    default_sqlstate = "58030"


@dataclass(frozen=True)
class Home:
    """Where a dataset is published.

    Attributes:
        url: Address of the folder that holds the files.
        blobs: Git object id (SHA-1 of ``blob <size>\\0`` and the content) of each file.
        fields: The fields, which the published files do not name.
        terms: What its publishers ask of those who use it.
    """

    url: str
    blobs: Mapping[str, str]
    fields: Fields
    terms: str


def _fields(described: str) -> Fields:
    """Fields from ``name:number-of-ids`` words."""
    words = [word.rpartition(":") for word in described.split()]
    return Fields.consecutive(tuple(name for name, _, _ in words), tuple(int(size) for _, _, size in words))


_FRAPPE = _fields("user:957 item:4082 daytime:7 weekday:7 isweekend:2 homework:3 cost:2 weather:9 country:80 city:233")
_DIABETES = _fields(
    """
    race:6 gender:3 age:10 admission_type_id:8 discharge_disposition_id:26 admission_source_id:17
    time_in_hospital:6 medical_specialty:73 num_lab_procedures:14 num_procedures:7 num_medications:9
    number_outpatient:9 number_emergency:9 number_inpatient:9 diag_1:22 diag_2:22 diag_3:22
    number_diagnoses:16 max_glu_serum:4 A1Cresult:4 metformin:4 repaglinide:4 nateglinide:4
    chlorpropamide:4 glimepiride:4 acetohexamide:2 glipizide:4 glyburide:4 tolbutamide:2 pioglitazone:4
    rosiglitazone:4 acarbose:4 miglitol:4 troglitazone:2 tolazamide:3 insulin:4 glyburide-metformin:4
    glipizide-metformin:2 glimepiride-pioglitazone:2 metformin-rosiglitazone:2 metformin-pioglitazone:2
    change:2 diabetesMed:2
    """
)

HOMES: Mapping[str, Home] = {
    "frappe": Home(
        f"{_ARM_NET}/frappe",
        {
            "train.libsvm": "6a5db57f39284d4b6b2fe36be26e7b833536de6a",
            "valid.libsvm": "5a0c0fd615e239a0e795e3698795727a3782db49",
            "test.libsvm": "5ce1f02645d5accb2bb4a2dbbc5e18d721e563e8",
        },
        _FRAPPE,
        "research use only, no redistribution, cite arXiv:1505.03014",
    ),
    "uci_diabetes": Home(
        f"{_ARM_NET}/uci_diabetes",
        {
            "train.libsvm": "30b3019de2d0093554ad99bc626a56b9dee219d3",
            "valid.libsvm": "92f41a6c98365e8d8e30f5f0c8e98c3e7836e7f0",
            "test.libsvm": "781801edfb46d6f86c05e405124e67ed09eca173",
        },
        _DIABETES,
        "CC BY 4.0, cite doi:10.24432/C5230J",
    ),
}

_NO_HOME = {
    "criteo": "its public copies hold all 45.8 million rows, not the extract; the home of the data is "
    "https://labs.criteo.com/2014/02/kaggle-display-advertising-challenge-dataset/",
}


def download(
    name: str,
    into: Path,
    *,
    homes: Mapping[str, Home] = HOMES,
    timeout: float = TIMEOUT_SECONDS,
    say: Callable[[str], None] = lambda _: None,
) -> Home:
    """Download dataset ``name`` into the folder ``into``, with a fields.tsv, and say each step.

    A file appears under its name only once it is whole and its checksum is right.

    Raises:
        NotAvailable: No home is known, no answer, a refusal, or a file that is not the published one.
    """
    if name not in homes:
        raise NotAvailable(f"{name} cannot be downloaded: {_NO_HOME.get(name, 'no public home of it is known')}")
    home = homes[name]
    try:
        into.mkdir(parents=True, exist_ok=True)
        for file, blob in home.blobs.items():
            if (into / file).exists() and git_blob_id(into / file) == blob:
                continue
            say(f"downloading {home.url}/{file} ({home.terms})")
            _download_file(f"{home.url}/{file}", into / file, blob, timeout)
        write_whole(into / "fields.tsv", home.fields.to_tsv().encode())
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError) as error:
        # An HTTPError is an URLError too; its text has the status, its reason has not.
        reason = getattr(error, "reason", error) if not isinstance(error, urllib.error.HTTPError) else error
        raise NotAvailable(f"{name} cannot be downloaded from {home.url}: {reason or type(error).__name__}") from None
    except OSError as error:
        raise NotAvailable(
            f"{name} cannot be downloaded into {into}: {error.strerror or error}",
            hint="Set TRAILS_HOME to a folder that you may write to.",
        ) from None
    return home


def git_blob_id(path: Path) -> str:
    """The id that git gives to the file's content (gitglossary: blob object)."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _download_file(url: str, target: Path, blob: str, timeout: float) -> None:
    handle, partial = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file, urllib.request.urlopen(url, timeout=timeout) as answer:
            while piece := answer.read(_PIECE):
                file.write(piece)
        if git_blob_id(Path(partial)) != blob:
            raise NotAvailable(f"{url} is not the published file: its checksum differs from {blob}")
        _publish(Path(partial), target)
    finally:
        Path(partial).unlink(missing_ok=True)


def write_whole(target: Path, content: bytes) -> None:
    """Write a file that nobody ever sees half-written."""
    handle, partial = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    _publish(Path(partial), target)


def _publish(partial: Path, target: Path) -> None:
    # mkstemp makes files that only their owner reads; a cache made by root is for everyone on the machine.
    partial.chmod(0o644)
    partial.replace(target)
