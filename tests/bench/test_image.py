"""Recorded benchmarks of cells: made of made-up files in the published forms, asked, and what is refused.

Where the published recordings are at hand (`nasbench` in $TRAILS_DATA), they are held against what is counted here.
"""

from __future__ import annotations

import base64
import csv
import json
import lzma
import os
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trails import bench
from trails.bench.image import official as image_official
from trails.bench.image.benchmark import ImageBenchmark
from trails.bench.image.convert import convert, design_of_naslib_101
from trails.cli import main
from trails.errors import InvalidInput, UnusableData
from trails.family.cell import counts101, nasbench101, nasbench201
from trails.filtering.samplers import make_sampler
from trails.space import picture_space

CELLS_201 = (
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|",
    "|none~0|+|none~0|none~1|+|none~0|none~1|nor_conv_1x1~2|",
    "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|",
)
# The last one is not in the form that was trained: its vertices 1 and 2 have changed places.
CELLS_101 = ("I3M331O.100110100001001010101", "IO.1", "I13O.110011")
RECORDED = Path(os.environ.get("TRAILS_DATA", "../shared/datasets")) / "nasbench"
ACCURACIES_201 = [
    f"{dataset}_{column}"
    for dataset in ("c10", "c100", "in16")
    for column in ("val_12", "test_12", "val_200_seed", "test_200_seed", "test_200_mean")
]
TFMEMS = ("synflow", "nwot", "jacov", "snip", "grad_norm", "fisher", "grasp", "plain", "epe_nas", "l2_norm")


def written(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with lzma.open(file, "wt", newline="") as text:
        table = csv.DictWriter(text, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


@pytest.fixture
def extracts(tmp_path: Path) -> Path:
    """Both benchmarks in the form of the extracts, of a few cells."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    accuracies = [
        {
            "index": 100 + place,
            "arch_str": text,
            **{name: 10 * place + number / 4 for number, name in enumerate(ACCURACIES_201)},
            "c10_train_200": 99,
            **{f"zen_{dataset}": -place for dataset in ("c10", "c100", "in16")},
        }
        for place, text in enumerate(CELLS_201)
    ]
    written(folder / "nasbench201_accuracy.csv.xz", accuracies)
    numbers = "-".join(map(str, nasbench201.to_naslib(nasbench201.read(CELLS_201[0]))))
    scores: dict[str, Any] = {"naslib_op_indices": numbers}
    for name in (*TFMEMS, "params", "flops"):
        scores |= {name: 2.5, f"{name}_seconds": "" if name == "grasp" else 0.5}
    scores["snip"] = ""
    written(folder / "nasbench201_proxy_scores_cifar10.csv.xz", [scores])
    cells = [
        {
            "module_hash": nasbench101.fingerprint(nasbench101.read(text)),
            "ops": text.split(".")[0],
            "adjacency_upper": text.split(".")[1],
            **{f"val_acc_{epochs}": (place + epochs / 1000) / 4 for epochs in (4, 12, 36, 108)},
            "training_seconds_108": 1000 + place,
            "zen": "" if place else 7.5,
        }
        for place, text in enumerate(CELLS_101)
    ]
    written(folder / "nasbench101_multifidelity.csv.xz", cells)
    matrix = np.triu(np.eye(7, k=1, dtype=int)).ravel().tolist()
    naslib = "-".join(map(str, [*matrix, 0, 2, 4, 3, 4, 4, 1]))
    row = {"naslib_tuple": naslib, **{name: 1.5 for name in (*TFMEMS, "params", "flops") if name != "nwot"}}
    written(folder / "nasbench101_proxy_scores.csv.xz", [row])
    return folder


def test_cells_of_201_are_asked_by_their_texts(extracts: Path, tmp_path: Path) -> None:
    assert convert("nasbench201", extracts, tmp_path / "nasbench201") == 3
    benchmark = bench.open("nasbench201", tmp_path)
    assert set(benchmark.architectures) == set(CELLS_201)
    space = picture_space("nasbench201")
    assert [
        space.index(space.parse(text)) for text in benchmark.architectures
    ] == benchmark.recorded().recorded.tolist()
    assert benchmark.published == [str(100 + CELLS_201.index(text)) for text in benchmark.architectures]
    for place, text in enumerate(CELLS_201):
        for number, name in enumerate(ACCURACIES_201):
            dataset, split, epochs, *runs = name.split("_")
            asked: Mapping[str, Any] = {
                "dataset": dataset,
                "epochs": int(epochs),
                "runs": "mean" if "mean" in runs else "one",
            }
            expected = 10 * place + number / 4
            if split == "test":
                assert benchmark.final(text, **asked).accuracy == expected
            else:
                assert benchmark.query(text, split="valid", **asked).accuracy == expected
            column = benchmark.column("test" if split == "test" else "valid", **asked)
            assert column[benchmark.architectures.index(text)] == expected
        assert benchmark.parameters(text) == nasbench201.parameters(nasbench201.read(text))
        assert benchmark.flops(text) == nasbench201.flops(nasbench201.read(text))
    assert benchmark.query(CELLS_201[0], dataset="c10", epochs=200, split="train", runs="one").accuracy == 99
    best = benchmark.best(dataset="c100", epochs=200, runs="one")
    assert best.architecture == CELLS_201[2] and (best.split, best.epochs, best.dataset) == ("valid", 200, "c100")
    assert len(benchmark.fidelities) == len(ACCURACIES_201) + 1


def test_scores_that_were_published_are_kept_with_what_is_missing(extracts: Path, tmp_path: Path) -> None:
    convert("nasbench201", extracts, tmp_path / "nasbench201")
    benchmark = bench.open("nasbench201", tmp_path)
    places, scores = benchmark.published_scores("zen", dataset="in16")
    assert [benchmark.architectures[place] for place in places] == list(CELLS_201) and scores.tolist() == [0, -1, -2]
    places, scores = benchmark.published_scores("params", dataset="c10")
    assert scores.tolist() == [2.5e6] and benchmark.architectures[places[0]] == CELLS_201[0]
    assert np.isnan(benchmark.published_scores("snip", dataset="c10")[1]).all()
    with pytest.raises(InvalidInput, match="no scores by 'snip' on 'c100'"):
        benchmark.published_scores("snip", dataset="c100")
    convert("nasbench101", extracts, tmp_path / "nasbench101")
    other = bench.open("nasbench101", tmp_path)
    places, scores = other.published_scores("zen", dataset="c10")
    assert np.isfinite(scores).tolist() == [True, False, False]
    assert other.published_scores("snip", dataset="c10")[0].tolist() == [-1], "its accuracy is not recorded"


def test_cells_of_101_are_found_in_every_form(extracts: Path, tmp_path: Path) -> None:
    assert convert("nasbench101", extracts, tmp_path / "nasbench101") == 3
    benchmark = bench.open("nasbench101", tmp_path)
    space = picture_space("nasbench101")
    for place, text in enumerate(CELLS_101):
        trained = space.format(space.architecture(space.index(space.parse(text))))
        assert trained in benchmark.architectures
        for form in (text, trained):
            answer = benchmark.query(form, dataset="c10", epochs=12, split="valid", runs="one")
            assert answer.accuracy == pytest.approx(100 * (place + 0.012) / 4, rel=1e-6)
            assert benchmark.seconds(form, dataset="c10", epochs=108) == 1000 + place
        assert benchmark.parameters(text) == counts101.parameters(space.parse(trained))
    with pytest.raises(InvalidInput, match="seconds of 36 epochs on c10 are not recorded"):
        benchmark.seconds(CELLS_101[0], dataset="c10", epochs=36)
    with pytest.raises(InvalidInput, match="is not recorded in") as refused:
        benchmark.parameters("IMMO.101011")
    assert "3 of the 423624 cells" in (refused.value.detail or "")


@pytest.mark.parametrize("name", ["nasbench101", "nasbench201"])
@pytest.mark.parametrize("sampler", ["random", "evolution", "reinforcement"])
def test_samplers_search_what_is_recorded(extracts: Path, tmp_path: Path, name: str, sampler: str) -> None:
    convert(name, extracts, tmp_path / name)
    benchmark = ImageBenchmark(tmp_path / name)
    merits: dict[int, float] = {}
    source = make_sampler(sampler, benchmark.recorded(), 1, merits.__getitem__)
    while found := source.ask(1):
        merits[found[0]] = float(found[0])
        source.tell(found[0])
    assert sorted(merits) == [0, 1, 2]


def test_nothing_is_answered_that_was_not_asked_for(extracts: Path, tmp_path: Path) -> None:
    convert("nasbench201", extracts, tmp_path / "nasbench201")
    benchmark = bench.open("nasbench201", tmp_path)
    with pytest.raises(InvalidInput, match="a split is train or valid, not 'test'"):
        benchmark.query(CELLS_201[0], dataset="c10", epochs=200, split="test", runs="one")  # type: ignore[arg-type]
    with pytest.raises(
        InvalidInput, match="no valid accuracies \\(one\\) of 100 epochs on 'c10' are recorded"
    ) as refused:
        benchmark.column("valid", dataset="c10", epochs=100, runs="one")
    assert "c10, 12 epochs, test, one" in (refused.value.hint or "")
    with pytest.raises(InvalidInput, match="no cell of NAS-Bench-201"):
        benchmark.final("64-32", dataset="c10", epochs=200, runs="one")
    with pytest.raises(InvalidInput, match="holds no benchmark") as refused:
        bench.open("nasbench101", tmp_path)
    assert "bench convert --dataset nasbench101" in (refused.value.hint or "")


def test_files_of_another_version_are_refused(extracts: Path, tmp_path: Path) -> None:
    file = extracts / "nasbench201_accuracy.csv.xz"
    written(file, [{"index": 0, "arch_str": CELLS_201[0], "c10_val_12": 1.0}])
    with pytest.raises(UnusableData, match="has no column 'c10_val_200_seed'"):
        convert("nasbench201", extracts, tmp_path / "nasbench201")
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(UnusableData, match="is damaged"):
        convert("nasbench201", extracts, tmp_path / "nasbench201")
    file.unlink()
    with pytest.raises(InvalidInput, match=r"holds no nasbench201_accuracy\.csv\.xz"):
        convert("nasbench201", extracts, tmp_path / "nasbench201")
    with pytest.raises(InvalidInput, match="holds no benchmark"):
        bench.open("nasbench201", tmp_path)
    with pytest.raises(InvalidInput, match="'frappe' is not published in files"):
        convert("frappe", extracts, tmp_path / "frappe")
    with pytest.raises(UnusableData, match="is no cell as NASLib writes them"):
        design_of_naslib_101("0-1-2")


def test_tables_of_another_version_are_refused(extracts: Path, tmp_path: Path) -> None:
    folder = tmp_path / "nasbench201"
    convert("nasbench201", extracts, folder)
    setting = json.loads((folder / "setting.json").read_text())
    assert set(setting["sources"]) == {"nasbench201_accuracy.csv.xz", "nasbench201_proxy_scores_cifar10.csv.xz"}
    (folder / "accuracy.parquet").write_bytes((folder / "architecture.parquet").read_bytes())
    with pytest.raises(UnusableData, match="is no table of this benchmark"):
        bench.open("nasbench201", tmp_path)
    (folder / "accuracy.parquet").write_text("nothing")
    with pytest.raises(UnusableData, match="is damaged or no Parquet file"):
        bench.open("nasbench201", tmp_path)
    (folder / "setting.json").write_text(json.dumps({**setting, "version": 2}))
    with pytest.raises(UnusableData, match=r"is of another version: trails\.bench\.image 2"):
        bench.open("nasbench201", tmp_path)
    (folder / "setting.json").write_text("[]")
    with pytest.raises(UnusableData, match="is no setting"):
        bench.open("nasbench201", tmp_path)


def test_the_command_converts(extracts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["bench", "convert", "--dataset", "nasbench201", "--folder", str(tmp_path)]
    assert main([*arguments, str(extracts)]) == 0
    assert capsys.readouterr().out == "3 cells recorded\n"
    assert bench.open("nasbench201", tmp_path).architectures
    assert main([*arguments, str(extracts / "nowhere")]) == 2
    assert "holds no nasbench201_accuracy.csv.xz" in capsys.readouterr().err


# The authors' own file


def message(fields: Sequence[tuple[int, Any]]) -> bytes:
    """A message of Protocol Buffers: doubles, integers, texts and messages."""
    found = b""
    for number, value in fields:
        if isinstance(value, float):
            found += bytes([number << 3 | 1]) + struct.pack("<d", value)
        elif isinstance(value, int):
            found += bytes([number << 3]) + varint(value)
        else:
            content = value.encode() if isinstance(value, str) else value
            found += bytes([number << 3 | 2]) + varint(len(content)) + content
    return found


def varint(value: int) -> bytes:
    found = b""
    while value > 127:
        found += bytes([value & 127 | 128])
        value >>= 7
    return found + bytes([value])


def record(text: str, epochs: int, accuracy: float, seconds: float) -> bytes:
    design = nasbench101.read(text)
    matrix, operations = nasbench101.to_matrix(design)
    evaluations = [
        message(
            [
                (1, epochs * share),
                (2, seconds * share),
                (3, accuracy),
                (4, accuracy * share),
                (5, accuracy / 2),
                (6, "x" * 200),
            ]
        )
        for share in (0.0, 0.5, 1.0)
    ]
    metrics = message([*((1, evaluation) for evaluation in evaluations), (2, 8_555_530), (3, seconds)])
    content = [
        nasbench101.fingerprint(design),
        epochs,
        "".join(str(entry) for row in matrix for entry in row),
        ",".join(operations),
        base64.b64encode(metrics).decode(),
    ]
    return framed(json.dumps(content).encode())


def framed(content: bytes) -> bytes:
    head = struct.pack("<Q", len(content))
    return b"".join(part + struct.pack("<I", image_official._masked(part)) for part in (head, content))


def test_checks_of_records_are_those_of_the_form() -> None:
    """CRC-32C of nine digits is a published test value; the rest is its masking."""
    crc = 0xE3069283
    assert image_official._masked(b"123456789") == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def test_the_official_file_of_101_is_read(tmp_path: Path) -> None:
    file = tmp_path / "nasbench_only108.tfrecord"
    runs = [(CELLS_101[0], 108, accuracy, 2000 * accuracy) for accuracy in (0.9, 0.92, 0.94)]
    file.write_bytes(b"".join(record(*run) for run in [*runs, (CELLS_101[1], 108, 0.5, 10.0)]))
    assert convert("nasbench101", file, tmp_path / "nasbench101") == 2
    benchmark = bench.open("nasbench101", tmp_path)
    asked: Mapping[str, Any] = {"dataset": "c10", "epochs": 108}
    assert benchmark.query(CELLS_101[0], split="valid", runs="one", **asked).accuracy == pytest.approx(90)
    assert benchmark.query(CELLS_101[0], split="valid", runs="mean", **asked).accuracy == pytest.approx(92)
    assert benchmark.final(CELLS_101[0], runs="mean", **asked).accuracy == pytest.approx(46)
    assert benchmark.seconds(CELLS_101[0], **asked) == pytest.approx(1800)
    assert benchmark.seconds(CELLS_101[1], **asked) == 10
    assert benchmark.parameters(CELLS_101[0]) == 8_555_530


def test_damaged_official_files_are_refused(tmp_path: Path) -> None:
    file, whole = tmp_path / "some.tfrecord", record(CELLS_101[1], 108, 0.5, 10.0)
    for content, told in (
        (whole[:-10], "is damaged or cut"),
        (whole[:40] + b"?" + whole[41:], "is damaged or cut"),
        (b"PK" + whole, "is no file of records"),
        (b"", "holds no cell"),
        (framed(b"[1, 2]"), "record 0 of .* is no training"),
        (framed(json.dumps(["00", 108, "0100", "input,output", "AAAA"]).encode()), "is no training"),
    ):
        file.write_bytes(content)
        with pytest.raises(UnusableData, match=told):
            convert("nasbench101", file, tmp_path / "nasbench101")
        assert not (tmp_path / "nasbench101").exists()
    with pytest.raises(InvalidInput, match="no official form of nasbench201"):
        convert("nasbench201", file, tmp_path / "nasbench201")


# What was recorded, where it is at hand

recorded = pytest.mark.skipif(not RECORDED.is_dir(), reason="the published recordings are not here")


def rows(name: str) -> list[dict[str, str]]:
    with lzma.open(RECORDED / f"{name}.csv.xz", "rt", newline="") as text:
        return list(csv.DictReader(text))


@recorded
def test_cells_of_201_have_the_recorded_texts_classes_and_counts() -> None:
    classes: dict[str, set[str]] = {}
    for row in rows("nasbench201_accuracy"):
        design = nasbench201.read(row["arch_str"])
        assert nasbench201.write(design) == row["arch_str"]
        assert "-".join(map(str, nasbench201.to_naslib(design))) == row["naslib_op_indices"]
        classes.setdefault(nasbench201.class_of(design), set()).add(row["unique_str"])
    assert len(classes) == 6466 and all(names == {name} for name, names in classes.items())
    scored = rows("nasbench201_proxy_scores_cifar10")
    assert len(scored) == 725
    for row in scored:
        design = nasbench201.from_naslib(tuple(map(int, row["naslib_op_indices"].split("-"))))
        assert nasbench201.parameters(design) == round(float(row["params"]) * 1e6)
        assert nasbench201.flops(design) == round(float(row["flops"]) * 1e6)


@recorded
def test_cells_of_101_have_the_recorded_hashes_and_counts() -> None:
    scored = rows("nasbench101_proxy_scores")
    assert len(scored) == 500
    for row in scored:
        design = design_of_naslib_101(row["naslib_tuple"])
        assert nasbench101.fingerprint(design) == row["module_hash"]
        assert counts101.parameters(design) == round(float(row["params"]) * 1e6)
        assert counts101.flops(design) == round(float(row["flops"]) * 1e6)
    space = picture_space("nasbench101")
    for row in rows("nasbench101_multifidelity")[::20]:
        design = space.parse(f"{row['ops']}.{row['adjacency_upper']}")
        trained = space.architecture(space.index(design))
        assert nasbench101.fingerprint(design) == nasbench101.fingerprint(trained) == row["module_hash"]
        assert counts101.parameters(trained) == int(row["trainable_parameters"])
