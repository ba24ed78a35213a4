"""Experiments on searches among cells: what rows say is what was searched, on made-up recordings."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import _image_searches, _searches, anytime_image, harness, plots, two_phase_end_to_end
from benchmarks._image_searches import LABELS
from tests.bench.made_up_cells import CELLS, quality, scored, seconds, written
from trails.errors import InvalidInput, UnusableData


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The made-up cells in the place of NAS-Bench-201."""
    benchmark = written(tmp_path / "nasbench201", datasets=("c10", "c100", "in16"))
    for tfmem in _image_searches.SCORED_BY:
        scored(benchmark, tfmem)
    monkeypatch.setenv("TRAILS_BENCH", str(tmp_path))
    caches = (_image_searches.records_of, _image_searches.whole, _image_searches.pool)
    for cache in caches:
        cache.cache_clear()
    yield tmp_path
    for cache in caches:
        cache.cache_clear()


class Here:
    """A pool of processes that is this one."""

    def __init__(self, count: int) -> None:
        assert count >= 1

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *_: object) -> None: ...

    def map(self, work: Callable[[Any], Any], jobs: Iterable[Any], chunksize: int) -> Iterator[Any]:
        return map(work, jobs)


def pool_designs(seed: int) -> list[tuple[int, ...]]:
    space = _image_searches.pool("c10", seed)
    return [space.architecture(index) for index in range(space.size)]


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize("method", LABELS)
def test_every_method_hands_over_what_it_had_time_for(method: str) -> None:
    times = _image_searches.budgets("c10", 8)
    row = _image_searches.search("c10", method, 3, times)
    designs = pool_designs(3)
    assert len(designs) == len(CELLS) // 2
    assert row["best_valid"] == pytest.approx(max(quality(design, 200) for design in designs), abs=1e-4)
    known = {(round(quality(d, e), 3), e): d for d in designs for e in (12, 200)}
    assert row["curve"]
    for spent, valid, test, training in row["curve"]:
        (epochs,) = {e for accuracy, e in known if accuracy == pytest.approx(valid, abs=2e-3)}
        design = next(d for (v, e), d in known.items() if e == epochs and v == pytest.approx(valid, abs=2e-3))
        assert test == pytest.approx(valid - (2.0 if epochs == 200 else 1.0), abs=1e-4)
        assert seconds(design, epochs) <= training + 1e-6 and training <= spent + 1e-6
    assert [entry[0] for entry in row["curve"]] == sorted(entry[0] for entry in row["curve"])
    if "spent" in row:
        assert row["curve"][-1][1] == pytest.approx(row["best_valid"]) or row["spent"] == times[-1] or "tpe" in method


@pytest.mark.usefixtures("recorded")
def test_evolution_by_short_trainings_pays_for_them_and_for_the_long_one() -> None:
    row = _image_searches.search("c10", "evolution_short", 1, _image_searches.budgets("c10", 8))
    space = _image_searches.pool("c10", 1)
    designs = {round(quality(design, 200), 3): design for design in pool_designs(1)}
    first, *_ = row["curve"]
    design = next(d for value, d in designs.items() if value == pytest.approx(first[1], abs=2e-3))
    assert first[0] >= seconds(design, 12) + seconds(design, 200)
    least = min(seconds(space.architecture(index), 12) for index in range(space.size))
    assert all(entry[0] > least + 200.0 for entry in row["curve"])


@pytest.mark.usefixtures("recorded")
def test_facts_are_those_of_the_cells() -> None:
    facts = _image_searches.facts("c10", range(4))
    own = [quality(design, 200) for design in CELLS]
    assert facts["random_test"] == pytest.approx(np.median(own) - 2.0, abs=1e-3)
    assert facts["highest_test"] == pytest.approx(max(own) - 2.0, abs=1e-3)
    best = [max(pool_designs(seed), key=lambda design: quality(design, 200)) for seed in range(4)]
    assert facts["best_test"] == pytest.approx(np.median([quality(design, 200) - 2.0 for design in best]), abs=1e-3)
    assert facts["oracle_seconds"] == np.median([seconds(design, 200) for design in best])
    assert facts["table"] == f"{len(CELLS)} of 15,625 cells recorded and scored"
    assert "seconds recorded" in facts["clock"] and "12 and 200 epochs are separate" in facts["clock"]
    mean = np.mean([seconds(design, 12) for design in CELLS])
    first, *_, last = _image_searches.budgets("c10", 6)
    assert first == pytest.approx(mean, rel=0.01) and last == pytest.approx(500 * mean * 200 / 12, rel=0.01)


@pytest.mark.parametrize("module", [anytime_image, two_phase_end_to_end])
def test_experiments_record_draw_and_tell(
    module: Any, recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_searches, "process_pool", Here)
    monkeypatch.setattr(_searches, "QUICK_SEEDS", 3)
    monkeypatch.setitem(anytime_image.TARGETS, "c10", 70.0)  # type: ignore[index]
    document = harness.run(module, results=tmp_path / "results", dataset="c10", quick=True, seed=0)
    (facts,) = document.select(method="table")
    methods = {row["method"] for row in document.rows} - {"table"}
    assert {"two_phase:jacflow", "evolution", "evolution_short"} <= methods <= LABELS.keys()
    assert len(document.rows) == 1 + 3 * len(methods) and facts["pool"] == len(CELLS) // 2
    text = "\n".join(harness.summary(module, document))
    assert all(LABELS[method] in text for method in methods) and "published: " in text
    assert "test accuracy" in text and "AUC" not in text
    files = plots.draw_files(module, document)
    drawn = next(file for file in files if file.suffix == ".svg").read_text()
    assert "90 of 15,625 cells" in drawn and "separate and paid whole" in drawn and "AUC" not in drawn


@pytest.mark.usefixtures("recorded")
def test_a_run_does_not_go_on_from_another_number_of_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_searches, "process_pool", Here)
    monkeypatch.setattr(_searches, "SEEDS", 2)
    results = tmp_path / "results"
    document = harness.run(anytime_image, results=results, dataset="c10", quick=False, seed=0)
    again = harness.run(anytime_image, results=results, dataset="c10", quick=False, seed=0)
    assert len(again.rows) == len(document.rows) and len(again.sessions) == 1, "everything was there"
    document.rows[0]["table"] = "3 of 15,625 cells recorded and scored"
    document.write()
    with pytest.raises(InvalidInput, match="these searches were of 3 of 15,625 cells"):
        harness.run(anytime_image, results=results, dataset="c10", quick=False, seed=0)


def test_cells_that_nobody_scored_cannot_be_compared(recorded: Path) -> None:
    for file in (recorded / "nasbench201").glob("score-*.parquet"):
        file.unlink()
    with pytest.raises(UnusableData, match="was scored by 'naswot'") as refused:
        _image_searches.size("c10")
    assert "bench score-cells --dataset nasbench201 --tfmem naswot" in (refused.value.hint or "")


def test_what_is_told_of_seconds_is_the_first_time_that_stays(recorded: Path) -> None:
    times = _image_searches.budgets("c10", 8)
    rows = [_image_searches.search("c10", "evolution", seed, times) for seed in range(3)]
    grid = _searches.grid(rows)
    target = float(np.median([row["curve"][-1][2] for row in rows]))
    found = _searches.seconds_to(rows, target - 0.5, grid)
    medians = [float(np.median([_searches.at(row, moment) for row in rows])) for moment in grid]
    plain = next((t for place, t in enumerate(grid) if min(medians[place:]) >= target - 0.5), math.nan)
    assert found == pytest.approx(plain, nan_ok=True)
