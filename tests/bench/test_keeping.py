"""What a benchmark keeps when its parts become tables: predictions of the best and the first, scores, seconds."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.records import curve_rows, made_up
from trails.bench import plan, store
from trails.bench.building import train
from trails.bench.building.rowsets import Rowsets
from trails.bench.files import first_of_each, write_table
from trails.bench.plan import Shard, predicted_rows, trainings
from trails.bench.protocol import PROTOCOLS, Protocol
from trails.bench.store import CURVE, PREDICTION, Setting, Store
from trails.bench.table import Benchmark
from trails.training.rows import EncodedRows


def predictions(places: range) -> list[dict[str, object]]:
    return [
        {"place": p, "seed": 1, "valid": np.array([p / 64], np.float16), "test": np.array([0.5], np.float16)}
        for p in places
    ]


def test_predictions_of_the_best_and_of_the_first_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PREDICTIONS_KEPT", 5)
    made_up(tmp_path / "small", 30)
    folder = Store(tmp_path / "small")
    folder.add([], predictions(range(30)))
    folder.compact([])
    aucs = {place: curve_rows(place, 1, 9)[-1]["valid_auc"] for place in range(30)}
    best = sorted(aucs, key=lambda place: -aucs[place])[:5]
    kept = folder.predictions()
    assert kept["place"].to_pylist() == sorted({*range(5), *best})
    assert [row[0] for row in kept["valid"].to_pylist()] == [place / 64 for place in kept["place"].to_pylist()]
    # More come, and one of them is better than all: who is no longer among the best goes.
    folder.add([{**row, "valid_auc": 0.99} for row in curve_rows(40, 1, 9)], predictions(range(40, 41)))
    folder.compact([])
    assert folder.predictions()["place"].to_pylist() == sorted({*range(5), *best[:4], 40})


def test_predictions_are_of_named_rows_after_the_last_epoch(
    protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "PREDICTED_ROWS", 50)
    rowsets = Rowsets.read(protocol, torch.device("cpu"))
    (training,) = list(trainings(100, 1, (1,), Shard()))
    seen: list[np.ndarray[tuple[int], np.dtype[np.float32]]] = []
    predict = train._predict

    def watched(stack: object, rows: EncodedRows) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        found = predict(stack, rows)  # type: ignore[arg-type]
        if rows is rowsets.test:
            seen.append(found[0])
        return found

    monkeypatch.setattr(train, "_predict", watched)
    trained = train.train(rowsets, protocol, training, "here")
    (kept,) = trained.predictions
    rows = predicted_rows(len(rowsets.test))
    assert len(rows) == 50 and len(seen) == protocol.epochs
    assert kept["test"].dtype == np.float16
    assert np.allclose(kept["test"], 1 / (1 + np.exp(-seen[-1][rows].astype(np.float64))), atol=5e-4)
    (other,) = list(trainings(100, 1, (2,), Shard()))
    assert not train.train(rowsets, protocol, other, "here").predictions


def test_shards_merge_with_their_scores_predictions_and_seconds(tmp_path: Path) -> None:
    shards = [Store(tmp_path / name) for name in ("one", "two")]
    for number, shard in enumerate(shards):
        made_up(shard.folder, 4)
        shard.add([], predictions(range(number, 4, 2)))
        row = {"tfmem": "params", "batch_seed": 1, "seconds": 0.5, "machine": "here"}
        shard.add_scores([{"place": place, "score": 1.0 + place, **row} for place in range(number, 4, 2)])
        shard.add_times([{"place": number, "train_seconds": 1.0, "valid_seconds": 0.1, "machine": "here"}])
    row = {"tfmem": "params", "batch_seed": 1, "architectures": 100, "seconds": 0.25, "machine": "here"}
    shards[1].add_whole_space([row])
    shards[1].write_space_scores({"params": np.arange(100, dtype=np.float32)}, 1)
    shards[0].take(shards[1])
    shards[0].compact([])
    assert not list((shards[0].folder / "parts").iterdir())
    merged = Benchmark(shards[0].folder)
    assert merged.scores("params").tolist() == [1.0, 2.0, 3.0, 4.0]
    assert merged.whole_space_seconds("params") == 0.25
    assert merged.space_scores("params")[7] == 7.0
    assert shards[0].predictions()["place"].to_pylist() == [0, 1, 2, 3]
    assert shards[0].times()["place"].to_pylist() == [0, 1]


def test_predictions_read_back_as_they_were_written(tmp_path: Path) -> None:
    folder = Store(tmp_path / "small")
    made_up(folder.folder, 1)
    drawn = np.random.default_rng(0).random(2048).astype(np.float16)
    folder.add([], [{"place": 0, "seed": 1, "valid": drawn, "test": drawn[::-1]}])
    folder.compact([])
    table = folder.predictions()
    assert table.schema.equals(PREDICTION) and pa.types.is_float16(table.schema.field("valid").type.value_type)
    assert np.array_equal(np.array(table["valid"][0].as_py()), drawn)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 3)), max_size=30))
def test_of_what_was_recorded_twice_the_first_is_kept(keys: list[tuple[int, int]]) -> None:
    table = pa.table(
        {
            "place": pa.array([place for place, _ in keys], pa.int32()),
            "seed": pa.array([seed for _, seed in keys], pa.int32()),
            "number": pa.array(range(len(keys)), pa.int64()),
        }
    )
    first: dict[tuple[int, int], int] = {}
    for number, key in enumerate(keys):
        first.setdefault(key, number)
    found = first_of_each(table, ("place", "seed"))
    assert found["number"].to_pylist() == [first[key] for key in sorted(first)]
    assert first_of_each(found, ("place", "seed")).equals(found)


def test_a_scan_of_160000_rows_takes_less_than_a_second(tmp_path: Path) -> None:
    folder = Store(tmp_path / "large")
    options = dict(PROTOCOLS["frappe"].options)
    folder.claim(Setting("large", "0" * 32, {"train": 6, "valid": 2, "test": 2}, 3, "mlp4x20", 2024, 1, options))
    rows, values = 160_000, np.random.default_rng(0).random(160_000).astype(np.float32)
    columns: dict[str, Any] = {name: values for name in CURVE.names if pa.types.is_float32(CURVE.field(name).type)}
    columns |= {"place": np.arange(rows), "seed": np.ones(rows), "epoch": np.ones(rows), "stacked": np.ones(rows)}
    arrays = [pa.array(columns.get(name, ["here"] * rows)).cast(CURVE.field(name).type) for name in CURVE.names]
    write_table(folder.folder / "curve.parquet", pa.Table.from_arrays(arrays, schema=CURVE))
    benchmark = Benchmark(folder.folder)
    benchmark.column("valid_auc", epoch=1, seed=1)
    began = time.process_time()
    assert np.array_equal(benchmark.column("test_auc", epoch=1, seed=1), values.astype(np.float64))
    assert time.process_time() - began < 1.0
    began = time.process_time()
    Benchmark(folder.folder).column("test_auc", epoch=1, seed=1)
    assert time.process_time() - began < 1.0, "opened, too"


def test_of_a_training_that_went_wrong_once_nothing_of_another_time_is_added(tmp_path: Path) -> None:
    made_up(tmp_path / "small", 3)
    folder = Store(tmp_path / "small")
    whole = curve_rows(7, 1, 9)
    wrong = [whole[0], {**whole[1], "valid_auc": float("nan")}]
    folder.add([*wrong, *curve_rows(8, 1, 9)], [])
    folder.compact([])
    folder.add(whole, [])
    found = folder.curves().to_pylist()
    assert [row["epoch"] for row in found if row["place"] == 7] == [1, 2]
    assert [row["epoch"] for row in found if row["place"] == 8] == list(range(1, 10))
    assert len(found) == 3 * 9 + 2 + 9
