"""Searches of scored cells, repeated into SQLite."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from trails.bench.image import explore as image_explore
from trails.bench.image import score_table as image_score_table
from trails.bench.image.benchmark import ImageBenchmark
from trails.bench.image.explore import explore, read_run, search
from trails.bench.image.store import ImageSetting, write
from trails.bench.space import RecordedSpace
from trails.cli import main
from trails.errors import InvalidInput, UnusableData
from trails.filtering.samplers import SAMPLERS
from trails.space import Nasbench201Space

SPACE = Nasbench201Space()
CELLS = np.unique(SPACE.representatives)[::20]
SECONDS = 0.25


@pytest.fixture
def benchmark(tmp_path: Path) -> ImageBenchmark:
    """Some 320 cells, all scored but one; the score rises with every convolution, and with the index."""
    architectures, scores = [], []
    for place, index in enumerate(CELLS.tolist()):
        design = SPACE.architecture(index)
        counts = {"parameters": SPACE.parameters(design, 3072), "flops": SPACE.flops(design, 3072)}
        architectures.append(
            {"index": index, "published": f"cell {place}", "architecture": SPACE.format(design), **counts}
        )
        value = float("nan") if place == 3 else design.count(3) + design.count(2) + index / SPACE.size
        scores.append({"index": index, "tfmem": "synflow", "batch_seed": 1, "score": value, "seconds": SECONDS})
    tables = {"architecture": architectures, "accuracy": [], "published_score": []}
    write(tmp_path / "nasbench201", ImageSetting("nasbench201", {}), tables)
    image_score_table.add(tmp_path / "nasbench201", scores)
    return ImageBenchmark(tmp_path / "nasbench201")


def test_a_run_tells_the_best_of_what_it_scored_and_the_seconds(benchmark: ImageBenchmark, tmp_path: Path) -> None:
    file = tmp_path / "explored.sqlite"
    assert explore(benchmark, "synflow", file, runs=2, steps=10_000) == 2
    cells = len(CELLS) - 1
    rows = read_run(file, 2)
    counts = [row.current_explored_model for row in rows]
    assert counts == [1, 2, 5, 10, 20, 50, 100, 200, 300, cells]
    scores = dict(zip(benchmark.published, benchmark.scores("synflow").tolist(), strict=True))
    for row in rows:
        assert row.run_id == 2 and row.time_usage == row.current_explored_model * SECONDS
        assert len(row.top_400) == min(400, row.current_explored_model) == len(set(row.top_400))
        found = [scores[name] for name in row.top_400]
        assert found == sorted(found, reverse=True)
    best = [scores[row.top_400[0]] for row in rows]
    assert best == sorted(best) and best[-1] == np.nanmax(benchmark.scores("synflow"))
    assert "cell 3" not in rows[-1].top_400, "it has no score"
    assert read_run(file, 1)[5].top_400 != rows[5].top_400, "another seed"


def test_of_a_metric_whose_lower_scores_are_better_the_lowest_are_the_best(
    benchmark: ImageBenchmark, tmp_path: Path
) -> None:
    rows = [
        {"index": index, "tfmem": "ntk_cond", "batch_seed": 1, "score": 1.0 + place % 97, "seconds": SECONDS}
        for place, index in enumerate(CELLS.tolist())
    ]
    image_score_table.add(benchmark.folder, rows)
    explore(benchmark, "ntk_cond", tmp_path / "lower.sqlite", runs=1, steps=10_000)
    scores = dict(zip(benchmark.published, benchmark.scores("ntk_cond").tolist(), strict=True))
    best = [scores[name] for name in read_run(tmp_path / "lower.sqlite", 1)[-1].top_400]
    assert best == sorted(best) and best[0] == 1.0


@pytest.mark.parametrize("sampler", ["evolution", "reinforcement"])
def test_a_search_learns_from_the_order_of_scores_and_not_from_their_size(
    benchmark: ImageBenchmark, sampler: str
) -> None:
    scores = benchmark.scores("synflow")
    usable = np.flatnonzero(np.isfinite(scores))
    space = RecordedSpace(SPACE, CELLS[usable].tolist())
    small, large = scores[usable] - 10.0, np.exp(8.0 * scores[usable])
    assert list(search(space, small, 1, 150, sampler)) == list(search(space, large, 1, 150, sampler))


def test_runs_are_added_and_those_that_are_there_stay(benchmark: ImageBenchmark, tmp_path: Path) -> None:
    file, other = tmp_path / "one.sqlite", tmp_path / "other.sqlite"
    assert explore(benchmark, "synflow", file, runs=1, steps=60) == 1
    first = read_run(file, 1)
    assert explore(benchmark, "synflow", file, runs=3, steps=60) == 2
    assert explore(benchmark, "synflow", file, runs=3, steps=60) == 0
    assert explore(benchmark, "synflow", other, runs=3, steps=60) == 3
    assert read_run(file, 1) == first == read_run(other, 1) and read_run(file, 3) == read_run(other, 3)
    with sqlite3.connect(file) as database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(explored)")]
    assert columns == ["run_id", "current_explored_model", "top_400", "time_usage"]
    for changed, told in (({"steps": 61}, "steps: there 60, here 61"), ({"sampler": "random"}, "there evolution")):
        with pytest.raises(InvalidInput, match="holds searches of another setting") as refused:
            explore(benchmark, "synflow", file, **{"runs": 4, "steps": 60, **changed})  # type: ignore[arg-type]
        assert told in (refused.value.detail or "")


def test_a_sampler_that_is_none_is_refused_before_there_is_a_file(benchmark: ImageBenchmark, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="there is no sampler 'annealing'"):
        explore(benchmark, "synflow", tmp_path / "one.sqlite", runs=1, steps=5, sampler="annealing")
    assert not list(tmp_path.glob("*.sqlite"))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_no_more_cells_are_named_than_there_is_room_for(
    benchmark: ImageBenchmark, sampler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_explore, "TOP", 7)
    space = RecordedSpace(SPACE, CELLS.tolist())
    scores = np.random.default_rng(0).permutation(len(CELLS)).astype(float)
    *_, (count, best) = search(space, scores, 1, len(CELLS), sampler)
    assert count == len(CELLS) and best == np.argsort(-scores)[:7].tolist()
    found = dict(search(space, scores, 5, 50, sampler))
    assert [len(found[count]) for count in (1, 5, 10, 50)] == [1, 5, 7, 7]


def test_of_equal_cells_the_first_one_found_is_named_first(benchmark: ImageBenchmark) -> None:
    space = RecordedSpace(SPACE, CELLS.tolist())
    rows = dict(search(space, np.zeros(len(CELLS)), 1, 50, "random"))
    assert rows[50][:20] == rows[20] and rows[20][:5] == rows[5]


def test_evolution_finds_better_cells_than_chance(benchmark: ImageBenchmark) -> None:
    """The mean score of the ten best of 60 cells, over 20 seeds."""
    space = RecordedSpace(SPACE, CELLS.tolist())
    scores = np.array([design.count(3) + index / 1e9 for index in CELLS for design in [SPACE.architecture(int(index))]])

    def mean(sampler: str) -> float:
        tops = [dict(search(space, scores, seed, 60, sampler))[60][:10] for seed in range(20)]
        return float(np.mean([scores[top].mean() for top in tops]))

    assert mean("evolution") > mean("random") + 0.1


def test_what_cannot_be_explored_is_told(benchmark: ImageBenchmark, tmp_path: Path) -> None:
    file = tmp_path / "explored.sqlite"
    with pytest.raises(UnusableData, match=r"no cell of .* was scored by 'naswot'"):
        explore(benchmark, "naswot", file)
    with pytest.raises(InvalidInput, match="one run and one step or more, not 0 and 5"):
        explore(benchmark, "synflow", file, runs=0, steps=5)
    with pytest.raises(InvalidInput, match="there is no"):
        read_run(file, 1)
    explore(benchmark, "params", file, runs=1, steps=5)
    assert [row.time_usage for row in read_run(file, 1)] == [0.0, 0.0, 0.0]
    with pytest.raises(InvalidInput, match="holds no run 2"):
        read_run(file, 2)
    file.write_text("nothing of the kind, and long enough to be no database at all")
    with pytest.raises(UnusableData, match="is no database of searches"):
        read_run(file, 1)


def test_the_command_explores(benchmark: ImageBenchmark, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["bench", "explore", "--dataset", "nasbench201", "--folder", str(benchmark.folder.parent)]
    assert main([*arguments, "--tfmem", "synflow", "--runs", "2", "--steps", "30"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "2 runs added\n" and "2 of 2 runs explored" in captured.err
    assert read_run(benchmark.folder / "explored.sqlite", 2)[-1].current_explored_model == 30
