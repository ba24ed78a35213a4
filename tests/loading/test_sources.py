"""Where data comes from: the order of the sources, the download, the table that scikit-learn ships."""

from __future__ import annotations

import contextlib
import dataclasses
import http.server
import socket
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.loading.arrays import read_arrays
from tests.loading.conftest import FRAPPE_FIELDS, FRAPPE_LINES, write_dataset
from trails.errors import InvalidInput
from trails.loading import small, sources
from trails.loading.download import HOMES, Home, NotAvailable, download, git_blob_id
from trails.loading.libsvm import MalformedLine
from trails.loading.sources import SPLITS, find_dataset


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A project without data beside it, wherever the tests themselves lie."""
    (tmp_path / "work" / "project" / ".git").mkdir(parents=True)
    (tmp_path / "work" / "project" / "python").mkdir()
    monkeypatch.chdir(tmp_path / "work" / "project" / "python")
    package = tmp_path / "elsewhere" / "project" / "python" / "trails" / "loading" / "sources.py"
    monkeypatch.setattr(sources, "__file__", str(package))


@contextlib.contextmanager
def _serve(folder: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def _home(folder: Path, url: str) -> Home:
    blobs = {f"{split}.libsvm": git_blob_id(folder / f"{split}.libsvm") for split in SPLITS}
    return Home(url, blobs, FRAPPE_FIELDS, "terms of the test")


def test_sources_are_asked_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = write_dataset(tmp_path / "named" / "frappe")
    data = write_dataset(tmp_path / "data" / "frappe")
    shared = write_dataset(tmp_path / "work" / "shared" / "datasets" / "frappe")
    published = write_dataset(tmp_path / "published")
    monkeypatch.setenv("TRAILS_DATA", str(data.parent))
    with _serve(published) as url:
        homes = {"frappe": _home(published, url)}

        def found(directory: Path | None = None) -> tuple[Path, str]:
            dataset = find_dataset("frappe", directory, homes=homes, substitute=True)
            return dataset.files["train"].parent, dataset.source

        assert found(named) == (named, f"--dir {named}")
        assert found(named.parent) == (named, f"--dir {named.parent}")
        assert found() == (data, f"TRAILS_DATA ({data.parent})")
        monkeypatch.delenv("TRAILS_DATA")
        assert found() == (shared, f"{shared.parent}, beside the project")
        (shared.parent.parent).rename(tmp_path / "away")
        assert found() == (tmp_path / "home" / "datasets" / "frappe", f"{url} (terms of the test)")
    # The home is gone, the download stays.
    assert found()[0] == tmp_path / "home" / "datasets" / "frappe"
    (tmp_path / "home").rename(tmp_path / "home-away")
    substitute = find_dataset("frappe", homes=homes, substitute=True)
    assert substitute.name == "breast_cancer"
    assert "since frappe is not available" in substitute.source
    with pytest.raises(NotAvailable, match="frappe cannot be downloaded from http://127"):
        find_dataset("frappe", homes=homes)


def test_data_beside_the_checkout_of_the_package_are_found_from_anywhere(tmp_path: Path) -> None:
    shared = write_dataset(tmp_path / "elsewhere" / "shared" / "datasets" / "frappe")
    assert find_dataset("frappe").files["test"].parent == shared


def test_files_may_be_compressed_and_fields_unknown(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "d", fields=None)
    (folder / "valid.libsvm").rename(folder / "valid.libsvm.xz")
    dataset = find_dataset("anything", folder)
    assert dataset.fields is None and dataset.files["valid"].name == "valid.libsvm.xz"


def test_a_folder_without_the_data_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match="does not hold the dataset frappe") as caught:
        find_dataset("frappe", tmp_path / "nowhere", substitute=True)
    assert "train.libsvm" in str(caught.value.hint)
    folder = write_dataset(tmp_path / "part")
    (folder / "valid.libsvm").unlink()
    with pytest.raises(InvalidInput, match=r"only a part of frappe: valid\.libsvm not found"):
        find_dataset("frappe", folder)
    monkeypatch.setenv("TRAILS_DATA", str(tmp_path / "gone"))
    with pytest.raises(InvalidInput, match=r"TRAILS_DATA names a folder that is not there: .*gone"):
        find_dataset("frappe", substitute=True)


def test_a_malformed_fields_file_stops_the_search(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "d")
    (folder / "fields.tsv").write_text("nonsense\n")
    with pytest.raises(MalformedLine, match=r"fields\.tsv:1: the header"):
        find_dataset("frappe", folder)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0b", "x" * 58, "é" * 29])
def test_names_that_cannot_name_tables_are_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="not a dataset's name"):
        find_dataset(name, substitute=True)


def test_unknown_names_are_told_the_known_ones() -> None:
    with pytest.raises(NotAvailable, match="no public home of it is known") as caught:
        find_dataset("unheard_of")
    assert "frappe, uci_diabetes, criteo, breast_cancer" in str(caught.value.hint)


def test_criteo_says_why_it_is_not_downloaded() -> None:
    with pytest.raises(NotAvailable, match=r"45\.8 million rows.*labs\.criteo\.com") as caught:
        find_dataset("criteo")
    assert "--dir or TRAILS_DATA" in str(caught.value.hint)


def test_a_download_brings_the_files_and_their_fields(tmp_path: Path) -> None:
    published = write_dataset(tmp_path / "published", fields=None, train=FRAPPE_LINES * 5000)
    said: list[str] = []
    with _serve(published) as url:
        dataset = find_dataset("frappe", homes={"frappe": _home(published, url)}, say=said.append)
    assert dataset.fields == FRAPPE_FIELDS
    assert read_arrays(dataset.files["train"], dataset.fields)[1].shape == (15_000, 10)
    assert [line.split()[1] for line in said] == [f"{url}/{split}.libsvm" for split in SPLITS]
    folder = dataset.files["train"].parent
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["fields.tsv", *(f"{split}.libsvm" for split in SPLITS)]
    )
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in folder.iterdir())


def test_a_cut_download_is_carried_on_with_the_next_file(tmp_path: Path) -> None:
    published = write_dataset(tmp_path / "published", fields=None)
    said: list[str] = []
    with _serve(published) as url:
        homes = {"frappe": _home(published, url)}
        (published / "test.libsvm").rename(published / "hidden")
        with pytest.raises(NotAvailable, match=r"cannot be downloaded from http://127\S+: HTTP Error 404"):
            find_dataset("frappe", homes=homes)
        (published / "hidden").rename(published / "test.libsvm")
        find_dataset("frappe", homes=homes, say=said.append)
    assert len(said) == 1 and "test.libsvm" in said[0]


def test_a_file_that_is_not_the_published_one_is_refused(tmp_path: Path) -> None:
    published = write_dataset(tmp_path / "published", fields=None)
    with _serve(published) as url:
        home = _home(published, url)
        (published / "valid.libsvm").write_text("0 1:1\n")
        with pytest.raises(NotAvailable, match=r"valid\.libsvm is not the published file: its checksum differs"):
            download("frappe", tmp_path / "into", homes={"frappe": home})
    # Nothing half-written is left to be taken for the file.
    assert [path.name for path in (tmp_path / "into").iterdir()] == ["train.libsvm"]


def test_a_server_that_cuts_the_answer_is_reported(tmp_path: Path) -> None:
    published = write_dataset(tmp_path / "published", fields=None)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n0 111:1")

        thread = threading.Thread(target=answer)
        thread.start()
        home = _home(published, f"http://127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(NotAvailable):
            download("frappe", tmp_path / "into", homes={"frappe": home})
        thread.join()
    assert list((tmp_path / "into").iterdir()) == []


def test_a_server_that_does_not_answer_is_given_up(tmp_path: Path) -> None:
    published = write_dataset(tmp_path / "published", fields=None)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        home = _home(published, f"http://127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(NotAvailable, match=r"frappe cannot be downloaded from .*timed out"):
            download("frappe", tmp_path / "into", homes={"frappe": home}, timeout=0.2)


def test_nobody_listening_is_reported(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    home = Home(url, {"train.libsvm": "0" * 40}, FRAPPE_FIELDS, "")
    with pytest.raises(NotAvailable, match=f"frappe cannot be downloaded from {url}: .*refused"):
        download("frappe", tmp_path / "into", homes={"frappe": home})


def test_a_cache_that_cannot_be_written_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TRAILS_HOME", str(tmp_path / "file"))
    for name in ("frappe", "breast_cancer"):
        with pytest.raises(NotAvailable) as caught:
            find_dataset(name, homes={"frappe": dataclasses.replace(HOMES["frappe"], url="http://127.0.0.1:1")})
        assert "TRAILS_HOME" in str(caught.value.hint)


def test_the_published_homes_are_pinned_and_complete() -> None:
    for home in HOMES.values():
        assert home.url.startswith("https://") and set(home.blobs) == {f"{split}.libsvm" for split in SPLITS}
        assert all(len(blob) == 40 for blob in home.blobs.values())
    sizes = {name: (len(home.fields), sum(home.fields.sizes or ())) for name, home in HOMES.items()}
    assert sizes == {"frappe": (10, 5382), "uci_diabetes": (43, 369)}


def test_a_blob_id_is_what_git_says(tmp_path: Path) -> None:
    # `printf 'hello\n' | git hash-object --stdin`
    (tmp_path / "f").write_bytes(b"hello\n")
    assert git_blob_id(tmp_path / "f") == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_breast_cancer_is_cut_into_bins_and_split_evenly() -> None:
    dataset = find_dataset("breast_cancer")
    assert dataset.fields is not None and len(dataset.fields) == 30
    assert dataset.fields.names[0] == "mean radius"
    parts = {split: read_arrays(dataset.files[split], dataset.fields) for split in SPLITS}
    assert {split: len(labels) for split, (labels, _) in parts.items()} == {
        "train": 398,
        "valid": 85,
        "test": 86,
    }
    for labels, _ in parts.values():
        assert labels.mean() == pytest.approx(357 / 569, abs=0.01)
    bins = parts["train"][1] - np.array(dataset.fields.first_ids)
    # Quantiles of the training rows: every bin holds about a tenth of them where values do not tie.
    counts = np.bincount(bins[:, 0], minlength=small.BINS)
    assert counts.min() >= 30 and counts.max() <= 50 and len(counts) == small.BINS


def test_breast_cancer_is_the_same_every_time() -> None:
    first = {split: path.read_bytes() for split, path in find_dataset("breast_cancer").files.items()}
    assert first == {split: path.read_bytes() for split, path in find_dataset("breast_cancer").files.items()}


def test_without_scikit_learn_the_command_that_mends_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(NotAvailable, match="which is not installed") as caught:
        find_dataset("breast_cancer")
    assert caught.value.hint == "Install it: python -m pip install scikit-learn"
