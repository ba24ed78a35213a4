"""Seconds of training a cell: timed on pictures, fitted, estimated, or as published."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.bench.made_up_cells import SPACE, written
from trails.bench.image import timing, training_seconds
from trails.bench.image.benchmark import ImageBenchmark
from trails.bench.image.pictures import Pictures
from trails.bench.image.training_seconds import COUNTED, LEAST_TIMED, PICTURED, counts_of, fit
from trails.cli import main
from trails.errors import InvalidInput, UnusableData
from trails.family.cell import nasbench201
from trails.space import picture_space

GENERATOR = np.random.default_rng(0)
DESIGNS = sorted({tuple(map(int, row)) for row in GENERATOR.integers(0, 5, (40, 6))})


@pytest.fixture
def benchmark(tmp_path: Path) -> ImageBenchmark:
    return written(tmp_path / "nasbench201", cells=DESIGNS, schedules={12: None, 200: None})


def timed(benchmark: ImageBenchmark, train: list[float], valid: list[float], machine: str = "a") -> None:
    """Keep seconds of every cell that are exactly what coefficients say, half as many of small pictures."""
    rows = []
    for design, (side, share) in itertools.product(DESIGNS, ((32, 1.0), (16, 0.5))):
        own = [share * float(counts_of([design])[0] @ np.array(one)) for one in (train, valid)]
        row = {"index": SPACE.index(design), "side": side, "classes": 10, "pictures": 64, "machine": machine}
        rows.append(row | {"train_seconds": own[0], "valid_seconds": own[1]})
    training_seconds.add(benchmark.folder, rows)


def test_estimates_are_epochs_times_pictures_and_one_evaluation(benchmark: ImageBenchmark) -> None:
    train, valid = [0.003, 0.0001, 0.0005, 0.002, 0.0007], [0.001, 0.0, 0.0002, 0.0006, 0.0003]
    timed(benchmark, train, valid)
    for dataset, pictures, looked_at, share in (("c10", 25_000, 25_000, 1.0), ("in16", 151_700, 3_000, 0.5)):
        for epochs in (12, 200):
            found = benchmark.training_seconds(dataset=dataset, epochs=epochs)
            for place, index in enumerate(benchmark.recorded().recorded.tolist()):
                design = SPACE.architecture(index)
                operations = [train[0]] + [train[1 + COUNTED.index(o)] if o in COUNTED else 0.0 for o in design]
                evaluated = [valid[0]] + [valid[1 + COUNTED.index(o)] if o in COUNTED else 0.0 for o in design]
                expected = share * (epochs * pictures * sum(operations) + looked_at * sum(evaluated))
                assert found[place] == pytest.approx(expected, rel=1e-6)
            assert benchmark.seconds_are(dataset=dataset, epochs=epochs) == "estimated"
    own = benchmark.cell_seconds("c10")
    assert (own.timed, own.machine) == (len(DESIGNS), "a") and own.error90 < 1e-6
    assert set(PICTURED) == {"c10", "c100", "in16"} and PICTURED["c100"].train == 50_000


def test_the_fit_is_the_best_of_those_without_negative_seconds() -> None:
    counts = counts_of(DESIGNS)
    # Skips seem to save time: the best number that is allowed for them is none, the others are fitted anew.
    train = counts @ np.array([1.0, -0.1, 0.2, 0.4, 0.1]) * GENERATOR.uniform(0.9, 1.1, len(DESIGNS))
    found = np.array(fit(DESIGNS, train, train, "a").train)
    assert (found >= 0.0).all() and found[1] == 0.0
    least = np.square(counts @ found / train - 1.0).sum()
    for place in range(5):
        for step in (-1e-3, 1e-3):
            other = found.copy()
            other[place] += step
            if other[place] >= 0.0:
                assert np.square(counts @ other / train - 1.0).sum() >= least


def test_the_error_is_of_cells_that_the_fit_has_not_seen() -> None:
    train = counts_of(DESIGNS) @ np.array([1.0, 0.1, 0.2, 0.4, 0.1])
    train[3] *= 2.0
    found = fit(DESIGNS, train, train, "a")
    assert found.error < 0.2 < abs(0.5 - 1.0), "one cell in 40 moves no median"
    with pytest.raises(InvalidInput, match="9 timed cells are too few") as refused:
        fit(DESIGNS[:9], train[:9], train[:9], "a")
    assert "bench time-cells" in (refused.value.hint or "")


def test_seconds_are_those_published_where_there_are_some(tmp_path: Path) -> None:
    space = picture_space("nasbench101")
    designs = [space.architecture(index) for index in (5, 60, 700)]
    schedules = {
        4: None,
        36: lambda design, _: 10.0 + designs.index(design),
        108: lambda d, _: 1000.0 + designs.index(d),
    }
    benchmark = written(tmp_path / "nasbench101", "nasbench101", designs, schedules)
    assert benchmark.training_seconds(dataset="c10", epochs=108).tolist() == [1000.0, 1001.0, 1002.0]
    assert benchmark.training_seconds(dataset="c10", epochs=36).tolist() == [10.0, 11.0, 12.0]
    assert benchmark.training_seconds(dataset="c10", epochs=4) == pytest.approx([1000 / 27, 1001 / 27, 1002 / 27])
    told = [benchmark.seconds_are(dataset="c10", epochs=epochs) for epochs in (4, 36, 108)]
    assert told == ["proportional", "recorded", "recorded"]
    with pytest.raises(InvalidInput, match="no seconds on 'c10' are estimated of nasbench101"):
        benchmark.cell_seconds("c10")
    pictures = Pictures(np.zeros((4, 3, 32, 32), np.uint8), np.zeros(4, np.int64), ("cat",))
    with pytest.raises(InvalidInput, match="were published"):
        timing.time_cells(benchmark, pictures, 10)


def test_seconds_that_nobody_knows_are_not_made_up(benchmark: ImageBenchmark) -> None:
    with pytest.raises(UnusableData, match="was timed on pictures of 16 x 16") as refused:
        benchmark.training_seconds(dataset="in16", epochs=12)
    assert refused.value.hint == "python -m trails bench time-cells --dataset nasbench201"
    for dataset, epochs in (("c10", 13), ("c11", 12)):
        with pytest.raises(InvalidInput, match="are recorded"):
            benchmark.training_seconds(dataset=dataset, epochs=epochs)
    timed(benchmark, [1.0] * 5, [1.0] * 5)
    timed(benchmark, [1.0] * 5, [1.0] * 5, machine="b")
    with pytest.raises(UnusableData, match="on machines that differ") as refused:
        benchmark.training_seconds(dataset="c10", epochs=12)
    assert refused.value.detail == "a; b"
    (benchmark.folder / training_seconds.FILE).write_text("nothing")
    with pytest.raises(UnusableData, match="is damaged or no Parquet file"):
        training_seconds.read(benchmark.folder)
    (benchmark.folder / training_seconds.FILE).write_bytes((benchmark.folder / "accuracy.parquet").read_bytes())
    with pytest.raises(UnusableData, match="is no table of seconds"):
        training_seconds.read(benchmark.folder)


def test_cells_are_timed_on_and_on(benchmark: ImageBenchmark, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = GENERATOR.integers(0, 256, (4, 3, 32, 32)).astype(np.uint8)
    pictures = Pictures(pixels, np.arange(4) % 2, ("cat", "dog"))
    seen: list[tuple[tuple[int, ...], float, int]] = []

    def measured(design: Any, x: Any, y: Any, classes: int, steps: int) -> tuple[float, float]:
        seen.append((x.shape, float(x.mean()), classes))
        return 1.0, 0.5

    monkeypatch.setattr(timing, "seconds_of", measured)
    assert timing.time_cells(benchmark, pictures, 10, rows=4) == 10
    assert [shape for shape, _, _ in seen[:2]] == [(4, 3, 32, 32), (4, 3, 16, 16)]
    assert seen[0][1] == pytest.approx(seen[1][1], abs=0.01), "small pictures are the means of the large ones"
    assert {classes for _, _, classes in seen} == {100, 120}
    assert timing.time_cells(benchmark, pictures, 12, rows=4) == 2
    assert timing.time_cells(benchmark, pictures, 12, rows=4) == 0
    assert training_seconds.read(benchmark.folder).num_rows == 24
    many = Pictures(pixels, np.arange(4) + 97, tuple(map(str, range(101))))
    with pytest.raises(InvalidInput, match="pictures of 101 classes cannot be timed"):
        timing.time_cells(benchmark, many, 12, rows=4)
    for cells, rows, wrong in ((9, 4, "too few for an estimate"), (10, 5, "cannot be timed in batches of 5")):
        with pytest.raises(InvalidInput, match=wrong):
            timing.time_cells(benchmark, pictures, cells, rows=rows)


def test_the_command_times(
    benchmark: ImageBenchmark, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "pictures" / "train" / "cat"
    folder.mkdir(parents=True)
    for number in range(timing.ROWS):
        Image.new("RGB", (32, 32), (number, 0, 0)).save(folder / f"{number:02}.png")
    monkeypatch.setattr(timing, "seconds_of", lambda design, *_: (1.0 + sum(design), 0.5))
    arguments = ["bench", "time-cells", "--dataset", "nasbench201", "--folder", str(benchmark.folder.parent)]
    arguments += ["--pictures", str(tmp_path / "pictures"), "--cells"]
    assert main([*arguments, "12"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("12 cells timed\nc10: estimates are ") and "12 of 12 cells timed" in captured.err
    assert main([*arguments, "9"]) == 2
    assert "9 timed cells are too few" in capsys.readouterr().err


def test_the_smallest_and_the_largest_cells_are_timed_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = [(0, 0, 0, 1, 0, 0), *((operation,) * 6 for operation in COUNTED)]
    # What is recorded of them may be isomorphic ones.
    known = {SPACE.architecture(int(SPACE.representatives[SPACE.index(one)])) for one in plain}  # type: ignore[attr-defined]
    benchmark = written(tmp_path / "nasbench201", cells=sorted({*DESIGNS, *known}), schedules={12: None})
    seen: list[Any] = []
    monkeypatch.setattr(timing, "seconds_of", lambda design, *_: (seen.append(design) or 1.0, 0.5))
    pictures = Pictures(np.zeros((4, 3, 32, 32), np.uint8), np.zeros(4, np.int64), ("cat",))
    timing.time_cells(benchmark, pictures, 10, rows=4)
    assert len(known) == 5 and set(seen[:10]) == known and not set(seen[10:]) & known


def test_a_step_of_training_takes_longer_than_one_of_evaluation_and_convolutions_longer_than_nothing() -> None:
    pictures, labels = GENERATOR.normal(size=(8, 3, 16, 16)), np.arange(8)
    nothing, all_of_it = (timing.seconds_of((operation,) * 6, pictures, labels, 10, 2) for operation in (0, 3))
    assert 0.0 < all_of_it[1] < all_of_it[0] and nothing[0] < all_of_it[0]


def test_operations_that_take_time_are_all_but_none() -> None:
    assert {nasbench201.OPERATIONS[o] for o in COUNTED} == set(nasbench201.OPERATIONS) - {"none"}
    assert 1 + len(COUNTED) < LEAST_TIMED
