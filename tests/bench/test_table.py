"""A benchmark that is opened: the answers, what is told where something is wrong, and how fast a large one is."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.bench.records import MACHINE, compacted, curve_rows, made_up
from trails import bench
from trails.bench.plan import sample
from trails.bench.store import CURVE, Setting, Store
from trails.bench.table import Benchmark
from trails.errors import InvalidInput, UnusableData


def test_a_benchmark_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_up(tmp_path / "named", 3, 2)
    monkeypatch.setenv("TRAILS_BENCH", str(tmp_path))
    assert bench.open("named").architectures == bench.open("named", tmp_path).architectures
    monkeypatch.delenv("TRAILS_BENCH")
    (tmp_path / "here" / "bench").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(InvalidInput, match="holds no benchmark") as refused:
        bench.open("named")
    assert "bench train" in (refused.value.hint or "")


def test_columns_and_answers_are_the_rows_that_were_written(tmp_path: Path) -> None:
    benchmark = made_up(tmp_path / "made_up", 8, 4, seeds=(1, 2), failing=frozenset([3]))
    for seed in (1, 2):
        written = [curve_rows(place, seed, 4, place == 3) for place in range(8)]
        for epoch in (1, 2, 3, 4):
            rows = [curve[epoch - 1] if epoch <= len(curve) else None for curve in written]
            expected = [np.nan if row is None else row["test_auc"] for row in rows]
            assert benchmark.column("test_auc", epoch=epoch, seed=seed) == pytest.approx(expected, nan_ok=True)
        space = benchmark.recorded(seed)
        assert [space.format(space.architecture(place)) for place in range(8)] == benchmark.architectures
        last = {place: curve[3]["valid_auc"] for place, curve in enumerate(written) if len(curve) == 4}
        best = benchmark.best(epoch=4, seed=seed)
        assert best.architecture == benchmark.architectures[max(last, key=lambda place: last[place])]
    name = benchmark.architectures[0]
    answer = benchmark.query(name, epoch=2, seed=2, split="train")
    assert answer.auc == pytest.approx(curve_rows(0, 2, 4)[1]["train_auc"])
    assert benchmark.seeds(name) == [1, 2]
    for epoch in (0, 5, 1.5, "2"):
        with pytest.raises(InvalidInput, match=f"epoch {epoch} of .* was not recorded"):
            benchmark.query(name, epoch=epoch, seed=1, split="valid")  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="there is no column 'auc'"):
        benchmark.column("auc", epoch=1, seed=1)
    with pytest.raises(InvalidInput, match="no architecture is recorded up to epoch 5"):
        benchmark.column("valid_auc", epoch=5, seed=1)
    with pytest.raises(InvalidInput, match="no architecture is recorded up to epoch 5"):
        benchmark.best(epoch=5, seed=1)
    with pytest.raises(InvalidInput, match="no architecture of space mlp2x10 is recorded"):
        benchmark.recorded(3)


def test_parts_and_tables_answer_alike(tmp_path: Path) -> None:
    parts = made_up(tmp_path / "made_up", 6, 3, seeds=(1, 2))
    tables = compacted(tmp_path / "made_up")
    assert not list((tmp_path / "made_up" / "parts").iterdir())
    assert tables.architectures == parts.architectures
    for epoch in (1, 2, 3):
        same = tables.column("valid_auc", epoch=epoch, seed=2) == parts.column("valid_auc", epoch=epoch, seed=2)
        assert same.all()
    assert tables.parameters(tables.architectures[2]) == 12
    # Whoever opened the parts has all that they held, though the files are gone.
    assert parts.best(epoch=3, seed=1) == tables.best(epoch=3, seed=1)


def test_a_setting_of_something_else_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "made_up"
    made_up(folder, 2, 2)
    file = folder / "setting.json"
    known = json.loads(file.read_text())
    for changed, told in (
        ({**known, "version": 9}, r"another version: trails\.bench 9"),
        ({**known, "format": "nats"}, "another version: nats 1"),
        ({name: value for name, value in known.items() if name != "digest"}, "no setting of a benchmark"),
    ):
        file.write_text(json.dumps(changed))
        with pytest.raises(UnusableData, match=told):
            Benchmark(folder)
    for text in (b"[]", b"not JSON", b"", b"\xff\xfe"):
        file.write_bytes(text)
        with pytest.raises(UnusableData, match="no setting of a benchmark"):
            Benchmark(folder)


def test_rows_of_another_dataset_are_not_added(tmp_path: Path) -> None:
    folder = tmp_path / "made_up"
    setting = made_up(folder, 2, 2).setting
    other = Setting(**{**setting.__dict__, "digest": "1" * 32})
    with pytest.raises(InvalidInput, match="another digest") as refused:
        Store(folder).claim(other)
    assert "There: 0000" in (refused.value.detail or "")
    Store(folder).claim(setting)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not Parquet at all"])
def test_a_damaged_table_is_told(tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / "made_up"
    made_up(folder, 2, 2)
    compacted(folder)
    (folder / "curve.parquet").write_bytes(content)
    with pytest.raises(UnusableData, match=r"curve\.parquet is damaged or no Parquet file"):
        Benchmark(folder)


def test_damaged_bytes_are_told_and_not_read_as_other_numbers(tmp_path: Path) -> None:
    made_up(tmp_path / "bench", 40)
    whole = compacted(tmp_path / "bench").column("valid_auc", epoch=1, seed=1)
    file = tmp_path / "bench" / "curve.parquet"
    content, told = file.read_bytes(), 0
    pages = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    places = range(4, pages, pages // 60)
    for place in places:
        file.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        try:
            # A byte that nobody reads may differ.
            assert (Benchmark(tmp_path / "bench").column("valid_auc", epoch=1, seed=1) == whole).all()
        except UnusableData as error:
            told += "curve.parquet is damaged or no Parquet file" in str(error)
    assert told > 0.8 * len(places)


def test_a_damaged_table_of_architectures_is_told(tmp_path: Path) -> None:
    made_up(tmp_path / "bench", 4)
    benchmark = compacted(tmp_path / "bench")
    name = benchmark.architectures[2]
    assert Benchmark(tmp_path / "bench").parameters(name) == 12
    (tmp_path / "bench" / "architecture.parquet").write_bytes(b"PAR1 and nothing more")
    with pytest.raises(UnusableData, match=r"architecture\.parquet is damaged or no Parquet file"):
        Benchmark(tmp_path / "bench").parameters(name)


def test_scores_are_of_their_architectures_while_a_scorer_adds_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rows(tfmem: str, sign: float) -> list[dict[str, object]]:
        common = {"tfmem": tfmem, "batch_seed": 1, "seconds": 1.0, "machine": MACHINE}
        return [{**common, "place": place, "score": sign * place} for place in range(6)]

    store, read = Store(tmp_path / "bench"), Store.scores
    benchmark = made_up(store.folder, 6)
    store.add_scores(rows("synflow", 1.0))

    def grown(own: Store) -> pa.Table:
        found = read(own)
        store.add_scores(rows("expressflow", -1.0))
        return found

    monkeypatch.setattr(Store, "scores", grown)
    assert benchmark.scores("synflow").tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


def test_a_table_of_other_columns_or_kinds_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "made_up"
    made_up(folder, 2, 2)
    compacted(folder)
    file = folder / "curve.parquet"
    table = pq.read_table(file)
    pq.write_table(table.rename_columns(["position", *table.schema.names[1:]]), file)
    with pytest.raises(UnusableData, match="no table of a benchmark"):
        Benchmark(folder)
    words = pa.array(["many"] * table.num_rows)
    pq.write_table(table.set_column(2, "epoch", words), file)
    with pytest.raises(UnusableData, match="no table of a benchmark"):
        Benchmark(folder)


def test_a_scan_of_160_000_rows_takes_a_moment(tmp_path: Path) -> None:
    epochs, count = 16, 10_000
    folder, store = tmp_path / "large", Store(tmp_path / "large")
    made_up(folder, 1, epochs, space="mlp4x10")
    for part in (folder / "parts").iterdir():
        part.unlink()
    rows = count * epochs
    draw = np.random.default_rng(1)
    columns = {
        name: draw.random(rows).astype(np.float32) for name in CURVE.names if name.endswith(("loss", "auc", "seconds"))
    }
    table = pa.table(
        {
            "place": np.repeat(np.arange(count, dtype=np.int32), epochs),
            "seed": np.ones(rows, np.int32),
            "epoch": np.tile(np.arange(1, epochs + 1, dtype=np.int16), count),
            **columns,
            "stacked": np.ones(rows, np.int16),
            "machine": pa.array([MACHINE] * rows).dictionary_encode(),
        }
    ).select(CURVE.names)
    pq.write_table(table.cast(CURVE), folder / "curve.parquet")
    began = time.monotonic()
    benchmark = Benchmark(folder)
    found = benchmark.column("valid_auc", epoch=14, seed=1)
    took = time.monotonic() - began
    assert took < 5.0  # a fraction of one, on a machine that does nothing else
    assert found.tolist() == columns["valid_auc"].reshape(count, epochs)[:, 13].tolist()
    assert len(benchmark.architectures) == count == len(set(sample(count, count)))
    assert store.done() == {(place, 1) for place in range(count)}
