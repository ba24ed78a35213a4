"""The files of NAS-Bench-201's author: made up in their layout, read, and what is refused without running any of it."""

from __future__ import annotations

import bz2
import contextlib
import copyreg
import io
import json
import os
import pickle
import struct
import tracemalloc
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trails import bench
from trails.bench.image.convert import convert
from trails.bench.image.nats import read_archive, read_pth
from trails.bench.image.plain_pickle import read_plain
from trails.errors import InvalidInput, UnusableData
from trails.family.cell import nasbench201

CELLS = (
    "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|",
    "|none~0|+|none~0|none~1|+|none~0|none~1|nor_conv_1x1~2|",
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|",
)
EVALUATED = {
    "cifar10-valid": ("x-valid", "ori-test"),
    "cifar10": ("ori-test",),
    "cifar100": ("x-valid", "x-test", "ori-test"),
    "ImageNet16-120": ("x-valid", "x-test", "ori-test"),
}
SEEDS = {
    "12": {"cifar10-valid": (777, 111), "cifar10": (111,), "cifar100": (111,), "ImageNet16-120": (111,)},
    "200": dict.fromkeys(EVALUATED, (999, 777, 888)),
}


def accuracy(cell: int, hp: str, dataset: str, split: str, seed: int, epoch: int) -> float:
    """A number that no two of them share."""
    place = list(EVALUATED).index(dataset) * 4 + ("train", "x-valid", "x-test", "ori-test").index(split)
    return 90 * (epoch + 1) / int(hp) - cell - place / 4 - seed / 10_000


def result(cell: int, hp: str, dataset: str, seed: int) -> dict[str, Any]:
    """What became of one training, with every field that the published files have."""
    epochs, names = int(hp), EVALUATED[dataset]
    # Of long trainings evaluations are kept now and then, the last one always; times of all.
    kept = range(epochs) if epochs == 12 else (epochs - 1,)
    return {
        "name": dataset,
        "train_acc1es": OrderedDict((e, accuracy(cell, hp, dataset, "train", seed, e)) for e in range(epochs)),
        "train_acc5es": None,
        "train_losses": OrderedDict((e, 1.0 / (e + 1)) for e in range(epochs)),
        "train_times": OrderedDict((e, 2.0 + cell) for e in range(epochs)),
        "arch_config": {"channel": 16, "num_cells": 5, "arch_str": CELLS[cell], "class_num": 10},
        "params": np.float64(0.25),
        "flop": 40.5,
        "seed": f"{seed:04d}",
        "epochs": epochs,
        "latency": [np.float64(0.01)],
        "eval_names": list(names),
        "eval_acc1es": {f"{n}@{e}": accuracy(cell, hp, dataset, n, seed, e) for n in names for e in kept},
        "eval_times": {f"{n}@{e}": 0.5 for n in names for e in range(epochs)},
        "eval_losses": {f"{n}@{e}": 0.1 for n in names for e in kept},
        "net_state_dict": None,
    }


def cell_of(cell: int, names: tuple[str, str] = ("12", "200")) -> OrderedDict[str, Any]:
    return OrderedDict(
        (
            name,
            {
                "arch_index": cell,
                "arch_str": CELLS[cell],
                "all_results": {
                    (dataset, seed): result(cell, hp, dataset, seed)
                    for dataset, seeds in SEEDS[hp].items()
                    for seed in seeds
                },
                "dataset_seed": {dataset: sorted(seeds) for dataset, seeds in SEEDS[hp].items()},
                "clear_net_done": True,
            },
        )
        for name, hp in zip(names, SEEDS, strict=True)
    )


def twice(depth: int) -> list[Any]:
    """A list that holds another twice, and so on: a few bytes as a pickle, and 2**depth numbers as a text."""
    found: list[Any] = [1]
    for _ in range(depth):
        found = [found, found]
    return found


def packed(file: Path, content: Any) -> None:
    file.write_bytes(bz2.compress(pickle.dumps(content, protocol=4)))


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Three cells are listed, and two have files."""
    folder = tmp_path / "NATS-tss-v1_0-3ffb9-simple"
    folder.mkdir()
    meta = {"meta_archs": list(CELLS), "total_archs": 3, "arch2infos": None, "evaluated_indexes": set()}
    packed(folder / "meta.pickle.pbz2", meta)
    for cell in (0, 2):
        packed(folder / f"{cell:06d}.pickle.pbz2", cell_of(cell))
    return folder


def test_the_folder_is_converted_with_seconds(archive: Path, tmp_path: Path) -> None:
    assert convert("nasbench201", archive, tmp_path / "nasbench201") == 2
    benchmark = bench.open("nasbench201", tmp_path)
    assert sorted(benchmark.published) == ["0", "2"]
    theirs = {"c10": ("cifar10-valid", "cifar10"), "c100": ("cifar100",) * 2, "in16": ("ImageNet16-120",) * 2}
    for cell in (0, 2):
        text = CELLS[cell]
        for dataset, (chosen, reported) in theirs.items():
            for hp, lowest in (("12", 111), ("200", 777)):
                last = int(hp) - 1
                asked: dict[str, Any] = {"dataset": dataset, "epochs": int(hp)}
                for split, name, source in (
                    ("valid", "x-valid", chosen),
                    ("test", "ori-test" if dataset == "c10" else "x-test", reported),
                    ("train", "train", reported),
                ):
                    expected = [accuracy(cell, hp, source, name, seed, last) for seed in SEEDS[hp][source]]
                    one = accuracy(cell, hp, source, name, lowest, last)
                    for runs, value in (("one", one), ("mean", sum(expected) / len(expected))):
                        if split == "test":
                            found = benchmark.final(text, runs=runs, **asked)  # type: ignore[arg-type]
                        else:
                            found = benchmark.query(text, split=split, runs=runs, **asked)  # type: ignore[arg-type]
                        assert found.accuracy == pytest.approx(value, abs=1e-5), (dataset, hp, split, runs)
                assert benchmark.seconds(text, **asked) == int(hp) * (2 + cell)
    assert benchmark.parameters(CELLS[2]) == nasbench201.parameters(nasbench201.read(CELLS[2]))
    with pytest.raises(InvalidInput, match="is not recorded"):
        benchmark.parameters(CELLS[1])
    (digest,) = json.loads((tmp_path / "nasbench201" / "setting.json").read_text())["sources"].values()
    packed(archive / "000000.pickle.pbz2", cell_of(0) | {"200": cell_of(0)["200"] | {"clear_net_done": False}})
    convert("nasbench201", archive, tmp_path / "nasbench201")
    assert digest not in (tmp_path / "nasbench201" / "setting.json").read_text()


def test_the_one_file_is_converted_where_it_is_plain(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    file = tmp_path / "NAS-Bench-201-v1_1-096897.pth"
    cells = {cell: cell_of(cell, ("less", "full")) for cell in (2, 0)}
    for found in cells.values():
        for length in found.values():
            for one in length["all_results"].values():
                one |= {"params": 0.25, "latency": [0.01], "train_times": None}
    torch.save({"meta_archs": list(CELLS), "arch2infos": cells, "evaluated_indexes": {0, 2}}, file)
    assert convert("nasbench201", file, tmp_path / "nasbench201") == 2
    benchmark = bench.open("nasbench201", tmp_path)
    answer = benchmark.final(CELLS[2], dataset="c100", epochs=200, runs="one")
    assert answer.accuracy == pytest.approx(accuracy(2, "200", "cifar100", "x-test", 777, 199), abs=1e-5)
    with pytest.raises(InvalidInput, match="seconds of 200 epochs on c100 are not recorded"):
        benchmark.seconds(CELLS[2], dataset="c100", epochs=200)
    torch.save({"meta_archs": list(CELLS)}, file)
    with pytest.raises(UnusableData, match="lists no cells"):
        list(read_pth(file))
    for content in (b"PK", b"junk", b"", pickle.dumps([1, 2])):
        file.write_bytes(content)
        with pytest.raises(InvalidInput, match="without running what it names") as refused:
            convert("nasbench201", file, tmp_path / "other")
        assert "NATS-tss-v1_0-3ffb9-simple" in (refused.value.hint or "")
    with pytest.raises(InvalidInput, match="no official form of nasbench201") as refused:
        convert("nasbench201", archive_file(tmp_path), tmp_path / "other")
    assert "NATS-tss-v1_0-3ffb9-simple" in (refused.value.hint or "")


def archive_file(folder: Path) -> Path:
    """The same benchmark in one pickle, which takes gigabytes."""
    file = folder / "NATS-tss-v1_0-3ffb9.pickle.pbz2"
    packed(file, {"meta_archs": list(CELLS), "arch2infos": {}})
    return file


class Bomb:
    """Makes a file wherever it is unpickled by what runs it."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._called = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self._called


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_that_run_something_are_refused_and_nothing_runs(protocol: int, archive: Path, tmp_path: Path) -> None:
    trace = tmp_path / "it ran"
    bombs = (Bomb(os.mkdir, str(trace)), Bomb(eval, f"open({str(trace)!r}, 'w')"), Bomb(open, str(trace), "w"))
    for bomb in bombs:
        content = cell_of(0) | {"12": bomb}
        file = archive / "000000.pickle.pbz2"
        file.write_bytes(bz2.compress(pickle.dumps(content, protocol=protocol)))
        with pytest.raises(UnusableData, match="is refused: it holds more than numbers") as refused:
            convert("nasbench201", archive, tmp_path / "nasbench201")
        assert "Nothing of it was run" in (refused.value.detail or "")
        assert str(file) in refused.value.message
    assert not trace.exists() and not (tmp_path / "nasbench201" / "setting.json").exists()
    pickle.loads(pickle.dumps(bombs[0], protocol=protocol))
    assert trace.exists(), "it would have run"


@pytest.mark.parametrize(
    "content",
    [
        b"cposix\nsystem\n(S'true'\ntR.",
        b"(iposix\nsystem\n.",
        b"(cbuiltins\nobject\no.",
        b"cnumpy\nndarray\n.",
        b"ccollections\nOrderedDict.fromkeys\n.",
        b"\x80\x04\x8c\x0bcollections\x8c\x10abc.sys.modules.x\x93.",
        b"Pan object elsewhere\n.",
        b"\x80\x02\x82\x01.",
        b"\x80\x02\x82\xf7.",
        # The three names that are known, used for something else: attributes set, types that are no numbers'.
        b"\x80\x02cnumpy\ndtype\n}U\x01xK\x01s\x86b.",
        b"\x80\x02cnumpy\ndtype\nN}U\x08__call__K\x01s\x86b.",
        b"\x80\x02ccollections\nOrderedDict\nN}U\x05itemsK\x01s\x86b.",
        b"\x80\x02ccollections\nOrderedDict\n)R}U\x05itemsK\x01sb.",
        b"\x80\x02cnumpy\ndtype\nU\x01O\x85R.",
        b"\x80\x02cnumpy\ndtype\n)R.",
        b"\x80\x02cnumpy.core.multiarray\nscalar\n)R.",
        b"\x80\x02cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\nU\x02f8\x85RC\x01a\x86R.",
        b"\x80\x02cnumpy\ndtype\nU\x02f8\x85R(K\x03U\x01<NNNK\xffK\xffK\x00tb(K\x03U\x01<NNNK\xffK\xffK\x00tb.",
        b"\x80\x02cnumpy\ndtype\nU\x02f8\x85R(K\x03U\x01<U\x01xNNK\xffK\xffK\x00tb.",
        b"\x80\x02cnumpy\ndtype\nU\x02f8\x85RK\x07b.",
        b"",
        b"no pickle",
        b"\x80\x04.",
        b"\x80\x04\x8e" + b"\xff" * 8,
        b"\x80\x04N",
        b"\x80\x04}]Ns.",
    ],
)
def test_nothing_but_plain_data_is_read(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(copyreg._inverted_registry, 247, ("posix", "system"))  # type: ignore[attr-defined]
    with pytest.raises(UnusableData, match=r"is refused|is damaged, or no pickle"):
        read_plain(io.BytesIO(content), "it")
    plain = {"a": [1, 2.5, None, True, (b"x", {3})], "b": OrderedDict(c=np.float32(1.5), d=np.int64(-7))}
    read = read_plain(io.BytesIO(pickle.dumps(plain, protocol=4)), "it")
    assert read == plain, "and it goes on reading what is plain"
    assert type(read["b"]) is dict and type(read["b"]["c"]) is float and type(read["b"]["d"]) is int


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x03Nr" + struct.pack("<I", 1 << 24) + b".",
        b"Np16777216\n.",
        b"\x80\x05\x96" + struct.pack("<Q", 1 << 27) + b".",
        b"\x80\x04\x8e" + struct.pack("<Q", 1 << 27) + b".",
        b"\x80\x04\x95" + struct.pack("<Q", 1 << 27) + b"N.",
    ],
)
def test_a_few_bytes_take_no_memory(content: bytes) -> None:
    tracemalloc.start()
    try:
        with contextlib.suppress(UnusableData):
            assert read_plain(io.BytesIO(content), "it") is None
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_name_by_number_that_is_known_from_elsewhere_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # Unregistered again, and still there for whoever reads a pickle.
    monkeypatch.setitem(copyreg._extension_cache, 247, print)  # type: ignore[attr-defined]
    with pytest.raises(UnusableData, match="is refused"):
        read_plain(io.BytesIO(b"\x80\x02\x82\xf7."), "it")


def test_folders_of_another_version_are_refused(archive: Path, tmp_path: Path) -> None:
    whole = cell_of(0)

    def changed(**values: Any) -> Any:
        found = cell_of(0)
        found["12"]["all_results"]["cifar10", 111] |= values
        return found

    def without(key: str) -> Any:
        found = cell_of(0)
        del found["200"]["all_results"]["cifar100", 777][key]
        return found

    for content, told in (
        ({"90": whole["12"]}, "trainings of '90'"),
        (cell_of(2), "results of another cell"),
        (changed(epochs=11), "11 epochs among those of 12"),
        (changed(train_acc1es={11: 101.0}), "accuracy of 101"),
        (changed(eval_acc1es={"ori-test@11": "high"}), "in the place of a number"),
        (changed(eval_acc1es={"ori-test@11": float("nan")}), "in the place of a number"),
        (changed(train_times={0: 1.0}), "no 1"),
        (without("eval_acc1es"), "no 'eval_acc1es'"),
        ({"12": {"arch_str": CELLS[0], "all_results": {("svhn", 1): {}}}}, "no 'svhn'"),
        ({"12": {"arch_str": CELLS[0], "all_results": {7: {}}}}, "has "),
        ({}, "no trainings"),
        ([1, 2], "has "),
        (changed(train_acc1es=[50.0]), "out of range"),
        (changed(train_times=[1.0]), "out of range"),
        (changed(train_times=dict.fromkeys(range(12), 1e308)), "overflow"),
        (changed(train_times=dict.fromkeys(range(12), -1.0)), "a training of -12.0 s"),
        (changed(train_acc1es={11: 10**400}), "too large"),
        (changed(train_acc1es={11: twice(60)}), "a list in the place of a number"),
        (changed(epochs=twice(60)), "trainings of a list epochs"),
        ({"12": whole["12"] | {"arch_str": twice(60)}}, "results of another cell: a list"),
        (
            {
                "12": {
                    "arch_str": CELLS[0],
                    "all_results": {("cifar100", float("inf")): result(0, "12", "cifar100", 777)},
                }
            },
            "infinity",
        ),
    ):
        packed(archive / "000000.pickle.pbz2", content)
        with pytest.raises(UnusableData, match=r"000000\.pickle\.pbz2 is of another version") as refused:
            list(read_archive(archive))
        assert told in (refused.value.detail or "")
        assert "NATS-tss-v1_0-3ffb9-simple" in (refused.value.hint or "")
    (archive / "000000.pickle.pbz2").write_bytes(b"BZh9 cut")
    with pytest.raises(UnusableData, match="is damaged, or missing"):
        list(read_archive(archive))
    meta = archive / "meta.pickle.pbz2"
    for content, told in (
        ({"meta_archs": ["64:64:32:8:8"]}, "other networks than cells of NAS-Bench-201"),
        ({"meta_archs": [CELLS[0], CELLS[0]]}, "list a cell twice"),
        ({"meta_archs": [1]}, "lists no cells"),
        ([CELLS], "lists no cells"),
        ({"archs": []}, "lists no cells"),
        ({"meta_archs": [CELLS[1]]}, "holds no cell"),
    ):
        packed(meta, content)
        (archive / "000000.pickle.pbz2").unlink(missing_ok=True)
        with pytest.raises(UnusableData, match=told):
            convert("nasbench201", archive, tmp_path / "nasbench201")
    with bz2.open(meta, "wb") as stream:
        for _ in range(65):
            stream.write(bytes(1 << 20))
    with pytest.raises(UnusableData, match="is larger than a file of one cell"):
        list(read_archive(archive))
