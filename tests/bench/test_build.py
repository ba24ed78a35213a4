"""Building a recorded benchmark: prefixes, shards, a builder that is killed, two at once, and what is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from multiprocessing import active_children
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trails.bench import table
from trails.bench.building.build import build, compact
from trails.bench.plan import Shard, sample, trainings
from trails.bench.protocol import WITH_ALL_SEEDS, Protocol
from trails.bench.store import CURVE, Store
from trails.errors import InvalidInput, UnusableData

DECIDED = ("place", "seed", "epoch", "train_loss", "valid_auc", "test_auc", "valid_loss", "test_loss", "train_auc")


@given(st.integers(1, 400), st.integers(1, 400))
def test_a_larger_sample_begins_with_the_smaller_one(few: int, many: int) -> None:
    few, many = sorted((few, many))
    assert sample(400, many)[:few] == sample(400, few)
    assert len(set(sample(400, many))) == many


@given(st.integers(1, 300), st.integers(1, 7))
def test_shards_share_all_trainings_among_them(count: int, shards: int) -> None:
    whole = list(trainings(1000, count, (1, 2, 3), Shard()))
    parts = [t for number in range(shards) for t in trainings(1000, count, (1, 2, 3), Shard(number, shards))]
    assert sorted(parts) == sorted(whole)
    assert len(whole) == count + 2 * min(count, WITH_ALL_SEEDS)


def test_two_shards_merge_to_what_one_builder_records(protocol: Protocol, tmp_path: Path) -> None:
    one, first, second = (tmp_path / name for name in ("one", "first", "second"))
    build(protocol, one, 5, seeds=(1, 2), processes=1)
    build(protocol, first, 5, seeds=(1, 2), processes=1, shard=Shard.parse("1/2"))
    build(protocol, second, 5, seeds=(1, 2), processes=1, shard=Shard.parse("2/2"))
    Store(first).take(Store(second))
    assert compact(protocol, first) == compact(protocol, one) == 5 * 2 * protocol.epochs
    whole, merged = (pq.read_table(folder / "curve.parquet") for folder in (one, first))
    assert merged.select(DECIDED).equals(whole.select(DECIDED))
    assert not list((first / "parts").iterdir())


def test_a_builder_goes_on_where_it_stopped_and_a_larger_table_keeps_the_smaller_one(
    protocol: Protocol, tmp_path: Path
) -> None:
    assert build(protocol, tmp_path / "grown", 2, seeds=(1,), processes=1) == 2
    before = Store(tmp_path / "grown").curves()
    assert build(protocol, tmp_path / "grown", 2, seeds=(1,), processes=1) == 0
    assert build(protocol, tmp_path / "grown", 4, seeds=(1,), processes=2) == 2
    after = Store(tmp_path / "grown").curves()
    assert after.slice(0, before.num_rows).equals(before)
    assert after.num_rows == 4 * protocol.epochs


_KILLED = """
import json
import sys
from pathlib import Path
from trails.bench.building.build import build
from trails.bench.protocol import Protocol
if __name__ == "__main__":
    folder, protocol = Path(sys.argv[1]), Protocol(**json.loads(sys.argv[2]))
    build(protocol, folder, 60, seeds=(1,), processes=1, say=lambda text: print(text, flush=True))
"""


def test_a_killed_builder_loses_the_group_in_hand_at_most(protocol: Protocol, tmp_path: Path) -> None:
    script, folder = tmp_path / "builder.py", tmp_path / "killed"
    script.write_text(_KILLED)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, str(script), str(folder), json.dumps(asdict(protocol))],
        stdout=subprocess.PIPE,
        env=environment,
        process_group=0,
    ) as builder:
        assert builder.stdout is not None
        trained = 0
        for line in builder.stdout:
            trained = int(line.split()[0])
            if trained >= 19:
                break
        os.killpg(builder.pid, signal.SIGKILL)
    kept = len(Store(folder).done())
    assert trained - 8 < kept <= trained + 8
    assert build(protocol, folder, 24, seeds=(1,), processes=1) == 24 - min(24, kept)


def test_an_interrupted_builder_keeps_what_was_finished_and_waits_for_nothing(
    protocol: Protocol, tmp_path: Path
) -> None:
    def interrupt(text: str) -> None:
        if int(text.split()[0]) == 3:
            raise KeyboardInterrupt

    long = replace(protocol, epochs=30)
    with pytest.raises(KeyboardInterrupt):
        build(long, tmp_path / "small", 60, seeds=(1,), processes=1, say=interrupt)
    assert len(Store(tmp_path / "small").done()) == 3
    assert not active_children()


def test_two_builders_of_one_shard_are_refused_and_of_two_are_not(protocol: Protocol, tmp_path: Path) -> None:
    store = Store(tmp_path / "busy")
    with store.locked("shard-1-of-2"):
        with pytest.raises(InvalidInput, match="another builder is at shard-1-of-2"):
            build(protocol, store.folder, 2, shard=Shard.parse("1/2"), seeds=(1,), processes=1)
        assert build(protocol, store.folder, 2, shard=Shard.parse("2/2"), seeds=(1,), processes=1) == 1


def test_a_table_of_something_else_is_not_added_to(protocol: Protocol, tmp_path: Path) -> None:
    build(protocol, tmp_path / "small", 1, seeds=(1,), processes=1)
    with pytest.raises(InvalidInput, match="another epochs"):
        build(replace(protocol, epochs=4), tmp_path / "small", 2, seeds=(1,), processes=1)
    lines = (tmp_path / "data" / "small" / "train.libsvm").read_text().splitlines()
    lines[0], lines[1] = lines[1], lines[0]
    (tmp_path / "data" / "small" / "train.libsvm").write_text("\n".join(lines) + "\n")
    with pytest.raises(InvalidInput, match="another digest"):
        build(protocol, tmp_path / "small", 2, seeds=(1,), processes=1)


def test_the_answers_are_those_of_the_curves(protocol: Protocol, tmp_path: Path) -> None:
    build(protocol, tmp_path / "small", 3, seeds=(1, 2), processes=1)
    compact(protocol, tmp_path / "small")
    benchmark = table.Benchmark(tmp_path / "small")
    assert len(benchmark.architectures) == 3
    name = benchmark.architectures[1]
    assert benchmark.seeds(name) == [1, 2]
    curve = benchmark.curve(name, seed=2)
    assert len(curve.valid_auc) == protocol.epochs
    answer = benchmark.query(name, epoch=3, seed=2, split="valid")
    assert (answer.auc, answer.epoch, answer.seed, answer.split) == (float(curve.valid_auc[2]), 3, 2, "valid")
    assert answer.auc > 0.8
    best = benchmark.best(epoch=3, seed=1)
    assert best.auc == max(benchmark.query(a, epoch=3, seed=1, split="valid").auc for a in benchmark.architectures)
    assert benchmark.final(name, epoch=1, seed=1).split == "test"
    spent = [benchmark.seconds(name, epoch=epoch, seed=1) for epoch in (1, 2, 3)]
    assert 0.0 < spent[0] < spent[1] < spent[2]
    assert benchmark.parameters(name) > 0


@pytest.mark.parametrize("epoch", [0, 4, -1])
def test_an_epoch_beyond_the_curve_is_refused(protocol: Protocol, tmp_path: Path, epoch: int) -> None:
    build(protocol, tmp_path / "small", 1, seeds=(1,), processes=1)
    benchmark = table.Benchmark(tmp_path / "small")
    with pytest.raises(InvalidInput, match="was not recorded") as refused:
        benchmark.query(benchmark.architectures[0], epoch=epoch, seed=1, split="valid")
    assert refused.value.detail == "Its curve has 3 epochs, counted from 1."


def test_what_is_not_recorded_says_how_to_record_it(protocol: Protocol, tmp_path: Path) -> None:
    build(protocol, tmp_path / "small", 1, seeds=(1,), processes=1)
    benchmark = table.Benchmark(tmp_path / "small")
    other = next(a for a in ("8-8", "16-16") if a not in benchmark.architectures)
    with pytest.raises(InvalidInput, match="is not recorded") as refused:
        benchmark.curve(other, seed=1)
    assert "bench train" in (refused.value.hint or "")
    with pytest.raises(InvalidInput, match=r"is not an architecture|not in space"):
        benchmark.curve("7-7", seed=1)
    with pytest.raises(InvalidInput, match="not trained with seed 9"):
        benchmark.curve(benchmark.architectures[0], seed=9)
    with pytest.raises(InvalidInput, match="train or valid"):
        benchmark.query(benchmark.architectures[0], epoch=1, seed=1, split="test")  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="holds no benchmark"):
        table.Benchmark(tmp_path / "nothing")


def test_damaged_and_foreign_files_are_told(protocol: Protocol, tmp_path: Path) -> None:
    build(protocol, tmp_path / "small", 1, seeds=(1,), processes=1)
    (part,) = (tmp_path / "small" / "parts").glob("curve-*.parquet")
    content = part.read_bytes()
    part.write_bytes(content[: len(content) // 2])
    with pytest.raises(UnusableData, match="damaged or no Parquet file"):
        table.Benchmark(tmp_path / "small")
    pq.write_table(CURVE.empty_table().select(["place"]), part)
    with pytest.raises(UnusableData, match="no table of a benchmark"):
        table.Benchmark(tmp_path / "small")
    setting = tmp_path / "small" / "setting.json"
    setting.write_text(setting.read_text().replace('"version": 1', '"version": 7'))
    with pytest.raises(UnusableData, match=r"another version: trails\.bench 7"):
        table.Benchmark(tmp_path / "small")
