"""Scores of recorded architectures: what is missing is scored, aligned with them, and kept whatever happens."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from tests.bench.records import curve_rows
from trails.bench.building import score_all
from trails.bench.building.rowsets import Rowsets
from trails.bench.building.score_all import score
from trails.bench.building.score_one import SCORED, Score, Scored, batch_seeds_of
from trails.bench.protocol import SAMPLE_SEED, Protocol
from trails.bench.store import Store
from trails.bench.table import Benchmark
from trails.errors import InvalidInput, UnusableData
from trails.tfmem import get_tfmem

SOME = tuple(get_tfmem(name) for name in ("naswot", "synflow", "ntk_cond", "snip", "params"))


def recorded(protocol: Protocol, folder: Path, places: Sequence[int]) -> Store:
    """A benchmark of the protocol's rows whose curves are made up."""
    store = Store(folder)
    store.claim(Rowsets.read(protocol, torch.device("cpu")).setting(protocol, SAMPLE_SEED))
    store.add([row for place in places for row in curve_rows(place, 1, protocol.epochs)], [])
    return store


def test_what_is_missing_is_scored_and_aligned_with_the_architectures(protocol: Protocol, tmp_path: Path) -> None:
    store = recorded(protocol, tmp_path / "small", [0, 1, 2])
    each = sum(len(batch_seeds_of(metric, (1, 2))) for metric in SOME)
    assert score(protocol, store.folder, tfmems=SOME, batch_seeds=(1, 2), processes=1) == 3 * each
    # A sample that grew: what is scored stays.
    store.add(curve_rows(7, 1, protocol.epochs), [])
    with pytest.raises(InvalidInput, match=r"1 of the 4 architectures .* are not scored by naswot") as refused:
        Benchmark(store.folder).scores("jacflow")
    assert "bench score --dataset small" in (refused.value.hint or "")
    assert score(protocol, store.folder, tfmems=SOME, batch_seeds=(1, 2), processes=1, keep_spaces=True) == each
    assert score(protocol, store.folder, tfmems=SOME, batch_seeds=(1, 2), processes=1) == 0

    benchmark, alone = Benchmark(store.folder), Scored.read(protocol)
    indices = benchmark.recorded(1).recorded.tolist()
    for metric in SOME:
        for seed in batch_seeds_of(metric, (1, 2)):
            expected = [alone.score(index, metric.name, seed).score for index in indices]
            assert benchmark.scores(metric.name, batch_seed=seed).tolist() == expected
    assert (benchmark.scores("naswot", batch_seed=1) != benchmark.scores("naswot", batch_seed=2)).any()
    # A metric that reads no data has one batch, whichever is asked for.
    assert benchmark.scores("params", batch_seed=2).tolist() == benchmark.scores("params").tolist()
    assert np.array_equal(benchmark.merits("ntk_cond"), -benchmark.scores("ntk_cond"))
    ranks = stats.rankdata(benchmark.scores("naswot", 2)) + stats.rankdata(benchmark.scores("synflow"))
    assert np.allclose(benchmark.scores("jacflow", batch_seed=2), ranks / 4)
    assert benchmark.score(benchmark.architectures[3], "synflow") == benchmark.scores("synflow")[3]

    table = store.scores()
    rows = table.filter(np.array(table["tfmem"]) == "snip")
    assert benchmark.scoring_seconds("snip") == pytest.approx(np.median(rows["seconds"].to_numpy()), rel=1e-6)
    assert benchmark.scoring_seconds("jacflow") == pytest.approx(
        benchmark.scoring_seconds("naswot") + benchmark.scoring_seconds("synflow")
    )
    assert benchmark.whole_space_seconds("snip") is None
    whole = benchmark.whole_space_seconds("jacflow")
    assert whole is not None and whole > 0.0
    with pytest.raises(InvalidInput, match=r"no architecture of .* is scored by zico"):
        benchmark.scores("zico")
    with pytest.raises(InvalidInput, match="is scored by naswot on batch 3"):
        benchmark.scores("naswot", batch_seed=3)

    every = benchmark.space_scores("params")
    assert every.shape == (benchmark.space.size,)
    assert np.array_equal(every[indices], benchmark.scores("params"))
    found = alone.whole_space("naswot", 1)
    assert found is not None and np.allclose(benchmark.space_scores("naswot"), found[0], rtol=1e-6)
    with pytest.raises(InvalidInput, match="by snip are not kept"):
        benchmark.space_scores("snip")


def test_a_failed_score_is_kept_and_has_no_merit(protocol: Protocol, tmp_path: Path) -> None:
    store = recorded(protocol, tmp_path / "small", [0, 1])
    row = {"tfmem": "ntk_cond", "batch_seed": 1, "seconds": 0.1, "machine": "here"}
    store.add_scores([{"place": 0, "score": math.inf, **row}, {"place": 1, "score": 3.0, **row}])
    benchmark = Benchmark(store.folder)
    assert benchmark.scores("ntk_cond").tolist() == [math.inf, 3.0]
    assert np.isnan(benchmark.merits("ntk_cond")[0]) and benchmark.merits("ntk_cond")[1] == -3.0


def test_seconds_are_none_of_what_a_process_does_first(monkeypatch: pytest.MonkeyPatch) -> None:
    class Cold:
        def __init__(self) -> None:
            self.asked: set[str] = set()

        def score(self, index: int, tfmem: str, batch_seed: int) -> Score:
            first = tfmem not in self.asked
            self.asked.add(tfmem)
            return Score(float(index), 10.0 if first else 1.0)

    monkeypatch.setattr(score_all, "_scored", Cold())
    monkeypatch.setattr(score_all, "_warm", set())
    missing = [("synflow", 1), ("naswot", 1), ("naswot", 2)]
    rows = score_all._score([score_all._Work(place, 7, missing) for place in range(3)])
    assert len(rows) == 9 and {row["seconds"] for row in rows} == {1.0}


def test_one_slow_score_is_not_charged_to_all(protocol: Protocol, tmp_path: Path) -> None:
    store = recorded(protocol, tmp_path / "small", range(5))
    common = {"tfmem": "synflow", "batch_seed": 1, "score": 1.0, "machine": "here"}
    store.add_scores([{**common, "place": place, "seconds": 20.0 if place == 0 else 1.0} for place in range(5)])
    assert Benchmark(store.folder).scoring_seconds("synflow") == 1.0


_KILLED = """
import json
import sys
from pathlib import Path
from trails.bench.building import score_all as scoring
from trails.bench.protocol import Protocol
from trails.tfmem import get_tfmem
scoring._GROUP_SECONDS = 0.0
if __name__ == "__main__":
    folder, protocol = Path(sys.argv[1]), Protocol(**json.loads(sys.argv[2]))
    scoring.score(protocol, folder, processes=1, say=lambda text: print(text, flush=True))
"""


def test_a_killed_scorer_goes_on(protocol: Protocol, tmp_path: Path) -> None:
    store, script = recorded(protocol, tmp_path / "killed", range(48)), tmp_path / "scorer.py"
    script.write_text(_KILLED)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, str(script), str(store.folder), json.dumps(asdict(protocol))],
        stdout=subprocess.PIPE,
        env=environment,
        process_group=0,
    ) as scorer:
        assert scorer.stdout is not None
        assert int(next(iter(scorer.stdout)).split()[0]) == 8
        os.killpg(scorer.pid, signal.SIGKILL)
    each = sum(len(batch_seeds_of(metric, (1, 2, 3))) for metric in SCORED)
    kept = store.scores()
    assert 8 * each <= kept.num_rows < 48 * each and kept.num_rows % each == 0
    assert score(protocol, store.folder, processes=2) == 48 * each - kept.num_rows
    after = store.scores()
    assert after.num_rows == 48 * each
    was = set(zip(kept["place"].to_pylist(), kept["tfmem"].to_pylist(), kept["score"].to_pylist(), strict=True))
    assert was <= set(
        zip(after["place"].to_pylist(), after["tfmem"].to_pylist(), after["score"].to_pylist(), strict=True)
    )


def test_rows_that_are_not_those_trained_on_are_refused_and_two_scorers_are(protocol: Protocol, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="holds no benchmark"):
        score(protocol, tmp_path / "nothing", processes=1)
    store = recorded(protocol, tmp_path / "small", [0])
    with store.locked("scores"), pytest.raises(InvalidInput, match="another builder is at scores"):
        score(protocol, store.folder, processes=1)
    lines = (tmp_path / "data" / "small" / "train.libsvm").read_text().splitlines()
    lines[0], lines[1] = lines[1], lines[0]
    (tmp_path / "data" / "small" / "train.libsvm").write_text("\n".join(lines) + "\n")
    with pytest.raises(InvalidInput, match="another digest"):
        score(protocol, store.folder, processes=1)
    assert not store.scores().num_rows


def test_damaged_scores_are_told(protocol: Protocol, tmp_path: Path) -> None:
    store = recorded(protocol, tmp_path / "small", [0])
    store.add_scores(
        [{"place": 0, "tfmem": "params", "batch_seed": 1, "score": 1.0, "seconds": 0.1, "machine": "here"}]
    )
    (part,) = (store.folder / "parts").glob("score-*.parquet")
    part.write_bytes(part.read_bytes()[:40])
    with pytest.raises(UnusableData, match="damaged or no Parquet file"):
        Benchmark(store.folder).scores("params")
    (store.folder / "space_score.parquet").write_bytes(b"nothing")
    with pytest.raises(UnusableData, match="damaged or no Parquet file"):
        Benchmark(store.folder).space_scores("params")


def test_controls_are_counted_without_a_network(protocol: Protocol, monkeypatch: pytest.MonkeyPatch) -> None:
    scored = Scored.read(protocol)
    drawn = {
        name: scored.space.family.scoring.initialise([get_tfmem(name)], (8, 48), scored.rows.inputs, 1)
        for name in ("params", "flops")
    }
    expected = {name: network(get_tfmem(name), ()) for name, network in drawn.items()}
    monkeypatch.setattr(type(scored.space.family.scoring), "initialise", None)
    index = scored.space.index((8, 48))
    assert {name: scored.score(index, name, 1).score for name in drawn} == expected
