"""Experiments on seconds and memory of pictures: they measure on small made-up data, and say what their rows hold."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from benchmarks import _image_searches, _pictures, filtering_latency, harness, large_imagenet, plots
from benchmarks.large_imagenet import LARGE, SMALL
from tests.bench.made_up_cells import scored, written
from trails.family.cell import nasbench201


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Forty pictures in the place of CIFAR-10, and a table in that of Frappe."""
    folder = tmp_path / "data"
    (folder / "cifar10").mkdir(parents=True)
    generator = np.random.default_rng(0)
    with tarfile.open(folder / "cifar10" / "cifar10_subset.tar.xz", "w:xz") as archive:
        for number in range(40):
            content = io.BytesIO()
            Image.fromarray(generator.integers(0, 256, (32, 32, 3), np.uint8)).save(content, "png")
            member = tarfile.TarInfo(f"train/{number % 10}/{number}.png")
            member.size = content.tell()
            content.seek(0)
            archive.addfile(member, content)
    (folder / "frappe").mkdir()
    ids = generator.integers(0, 20, (400, 10)) + 20 * np.arange(10)
    lines = "".join(f"{row[0] % 2} " + " ".join(f"{value}:1" for value in row) + "\n" for row in ids.tolist())
    for split in ("train", "valid", "test"):
        (folder / "frappe" / f"{split}.libsvm").write_text(lines)
    monkeypatch.setenv("TRAILS_DATA", str(folder))
    _pictures.cifar10.cache_clear()
    yield folder
    _pictures.cifar10.cache_clear()


def document_of(tmp_path: Path, module: Any, rows: list[harness.Row]) -> harness.Document:
    name = module.__name__.rpartition(".")[2]
    settings = {"dataset": None, "seed": 0, "quick": True}
    document = harness.Document(tmp_path / name / "seed0-quick.json", name, "", settings, [harness.session()], rows)
    document.write()
    return document


@pytest.mark.usefixtures("data")
def test_batches_have_the_size_and_the_classes_that_are_asked_for() -> None:
    own, other = _pictures.batch(8, 1), _pictures.batch(8, 1, 16, 120)
    assert (own.x.shape, own.outputs) == ((8, 3072), 10) and (other.x.shape, other.outputs) == ((8, 768), 120)
    assert own.y is not None and other.y is not None and set(own.y) <= set(range(10)) and max(other.y) > 9
    np.testing.assert_array_equal(other.y, _pictures.batch(8, 1, 16, 120).y)
    # The same pictures, each pixel the mean of four.
    means = own.x.reshape(8, 3, 16, 2, 16, 2).mean((3, 5)).reshape(8, -1)
    assert np.abs(other.x - means).max() < 0.02


@pytest.mark.usefixtures("data")
def test_large_pictures_are_scored_and_trained_on_and_counted_up(tmp_path: Path) -> None:
    rows = large_imagenet.measure_scores(side=16, classes=120, rows=32, start=0, count=3, seed=0)
    rows += large_imagenet.measure_scores(side=32, classes=1000, rows=4, start=1, count=1, seed=0)
    same = rows[1], rows[3]
    assert same[0]["cell"] == same[1]["cell"], "every size is scored on the same cells"
    design = nasbench201.read(rows[1]["cell"])
    assert rows[1]["flops"] == nasbench201.flops(design, 16, 120)
    assert rows[3]["parameters"] == nasbench201.parameters(design, 1000)
    assert all(row["seconds"][name] > 0 for row in rows for name in ("initialisation", "naswot", "synflow"))
    assert [row["position"] for row in rows] == [0, 1, 2, 1] and all(row["megabytes"] > 0 for row in rows)
    trained = large_imagenet.measure_training(side=16, classes=120, positions=[1], batches=[2, 8], steps=2, seed=0)
    assert [(row["rows"], len(row["seconds"]), row["cell"]) for row in trained] == [
        (2, 2, rows[1]["cell"]),
        (8, 2, rows[1]["cell"]),
    ]
    document = document_of(tmp_path, large_imagenet, [{**row, "session": 0} for row in (*rows[:3], *trained)])
    hours = large_imagenet.epoch_hours(document, SMALL)
    expected = float(np.median(trained[1]["seconds"])) * 151_700 / 8 / 3600
    assert hours[8] == [pytest.approx(expected)] and large_imagenet.epoch_hours(document, LARGE) == {}
    lines = large_imagenet.summarise(document)
    middle = float(np.median([sum(row["seconds"].values()) for row in rows[:3]]))
    assert f"jacflow of a cell in {middle:.3f} s (median of 3;" in lines[0]
    assert f"8: {expected:.3g}" in lines[1] and len(lines) == 2
    assert len(plots.draw(cast(harness.Experiment, large_imagenet), document)) == 3
    json.dumps(document.rows, allow_nan=False)


def test_searches_by_seconds_are_drawn_with_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    benchmark = written(tmp_path / "nasbench201", datasets=("in16",))
    for tfmem in _image_searches.SCORED_BY:
        scored(benchmark, tfmem)
    monkeypatch.setenv("TRAILS_BENCH", str(tmp_path))
    caches = (_image_searches.records_of, _image_searches.whole, _image_searches.pool)
    for cache in caches:
        cache.cache_clear()
    times = _image_searches.budgets("in16", large_imagenet.BUDGETS)
    rows: list[harness.Row] = [
        {"method": "table", **_image_searches.facts("in16", range(2)), "budgets": times},
        *(
            _image_searches.search("in16", method, seed, times)
            for method in large_imagenet.METHODS
            for seed in range(2)
        ),
    ]
    document = document_of(tmp_path, large_imagenet, [{**row, "session": 0} for row in rows])
    lines = large_imagenet.summarise(document)
    assert len(lines) == 4 and all("times sooner than evolution, planned:" in line for line in lines[1:])
    assert all(_image_searches.LABELS[method] in lines[1] for method in large_imagenet.METHODS)
    assert len(plots.draw(cast(harness.Experiment, large_imagenet), document)) == 3
    for cache in caches:
        cache.cache_clear()


@pytest.mark.usefixtures("data")
def test_filtering_is_taken_apart_for_pictures_and_tables(tmp_path: Path) -> None:
    common: dict[str, Any] = {"models": 3, "seed": 0}
    rows = [
        filtering_latency.measure_pictures(
            dataset="ImageNet16-120", side=16, classes=120, metric=metric, device="cpu", **common
        )
        for metric in filtering_latency.METRICS
    ]
    rows += [filtering_latency.measure_table(dataset="frappe", cache=cache, **common) for cache in (True, False)]
    for row in rows:
        assert row["initialisation"] > 0 and row["data"] > 0 and row["scoring"] > 0 and row["transfer"] >= 0
        assert len(row["line"]) == 3 and row["megabytes"] >= max(row["line"]) - 1
    assert rows[3]["table_megabytes"] == 5500 * 10 * 8 / 1e6, "as many rows as the published configuration says"
    document = document_of(tmp_path, filtering_latency, [{**row, "session": 0} for row in rows])
    lines = filtering_latency.summarise(document)
    assert f"scoring {1e3 * rows[0]['scoring'] / 3:.3f}" in lines[0] and lines[0].startswith("ImageNet16-120, naswot:")
    assert lines[3].startswith("frappe, cache on:") and lines[4].startswith("frappe, cache off:")
    assert lines[-1].startswith("no GPU was measured")
    assert len(plots.draw(cast(harness.Experiment, filtering_latency), document)) == 3


def test_what_is_recorded_is_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def pinned(function: str, **arguments: Any) -> Any:
        asked.append(arguments)
        if "metric" in arguments or "cache" in arguments:
            return {name: value for name, value in arguments.items() if name != "seed"}
        if "positions" in arguments:
            known = {"what": "train", "side": arguments["side"]}
            return [{**known, "rows": rows} for _ in arguments["positions"] for rows in arguments["batches"]]
        return [{"what": "score", "side": arguments["side"], "rows": arguments["rows"]}] * arguments["count"]

    monkeypatch.setenv("TRAILS_BENCH", str(tmp_path / "nothing"))
    for module in (large_imagenet, filtering_latency):
        monkeypatch.setattr(module, "run_pinned", pinned)
        document = document_of(tmp_path, module, [])
        context = harness.Context(document, None, False, 0)
        module.run(context)
        first = len(asked)
        assert first and len(document.rows)
        module.run(context)
        assert len(asked) == first
        asked.clear()
        # Half of it lost: that half is measured.
        context = replace(context, document=document_of(tmp_path, module, document.rows[: len(document.rows) // 2]))
        module.run(context)
        assert 0 < len(asked) < first and len(context.document.rows) == len(document.rows)
        asked.clear()
