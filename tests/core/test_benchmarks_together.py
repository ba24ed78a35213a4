"""Many experiments in one go, and figures that are copied into the documents."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import benchmarks
from benchmarks import _publishing, _together, harness
from benchmarks.__main__ import main
from trails.errors import InvalidInput

_GOOD = '''"""Counts to three."""

from matplotlib.figure import Figure

from benchmarks import plots

DATASETS = ("frappe", "criteo")


def run(context):
    for number in range(3):
        if not context.recorded(number=number):
            context.record({"number": number})


def draw(document):
    figure, (axis,) = plots.panels(1)
    axis.plot([row["number"] for row in document.rows])
    return {"": figure, "again": figure}
'''
_BAD = '''"""Stops half-way."""


def run(context):
    context.record({"number": 0})
    raise RuntimeError("the disk is full")


def draw(document):
    return {}
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package of experiments with its harness, and three experiments that are not in it."""
    folder = tmp_path / "made_up" / "benchmarks"
    folder.mkdir(parents=True)
    real = Path(benchmarks.__path__[0])
    for name in ("__init__", "__main__", "harness", "plots", "_publishing", "_together", "_records"):
        (folder / f"{name}.py").symlink_to(real / f"{name}.py")
    (folder / "good.py").write_text(_GOOD)
    (folder / "bad.py").write_text(_BAD)
    (folder / "_shared.py").write_text("from benchmarks._records import DATASETS\n")
    (folder / "looks_up.py").write_text(
        _GOOD.replace("from benchmarks import plots", "from benchmarks import _shared, plots")
    )
    monkeypatch.setattr(benchmarks, "__path__", [str(folder), str(real)])
    monkeypatch.setattr(harness, "ROOT", folder.parent)
    monkeypatch.setattr(_publishing, "FOLDER", tmp_path / "study")
    for name in ("good", "bad", "looks_up"):
        monkeypatch.delitem(sys.modules, f"benchmarks.{name}", raising=False)
    monkeypatch.setattr(harness, "experiments", lambda: {"bad": "Stops.", "good": "Counts.", "looks_up": "Counts."})
    # Children find the made-up package first, and what it borrows beside it.
    root = str(real.parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder.parent), f"{root}/python", root]))
    return folder


@pytest.mark.usefixtures("package")
def test_all_experiments_are_run_and_a_failure_is_told_but_ends_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results"
    assert main(["--all", "--quick", "--results", str(results)]) == 1
    told = capsys.readouterr()
    lines = {line.split()[0]: line for line in told.out.splitlines()}
    assert "failed" in lines["bad"] and "the disk is full" in lines["bad"]
    assert "finished" in lines["good"] and "frappe-seed0-quick.svg, frappe-seed0-quick-again.svg" in lines["good"]
    assert "frappe" in lines["looks_up"] and "finished" in lines["looks_up"]
    assert "2 finished, 1 failed" in told.out
    assert "RuntimeError" in (results / "logs" / "bad.log").read_text()
    assert (results / "good" / "frappe-seed0-quick.png").exists()


@pytest.mark.usefixtures("package")
def test_of_all_those_on_records_may_be_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--all", "--only-records", "--dataset", "all", "--results", str(tmp_path / "r")]) == 0
    told = capsys.readouterr().out
    assert "bad" not in told and "good" not in told
    assert [line.split()[:2] for line in told.splitlines()[1:3]] == [["looks_up", "frappe"], ["looks_up", "criteo"]]


@pytest.mark.usefixtures("package")
def test_one_experiment_is_run_on_every_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = tmp_path / "results"
    assert main(["good", "--dataset", "all", "--results", str(results)]) == 0
    assert {path.name for path in (results / "good").glob("*.json")} == {"frappe-seed0.json", "criteo-seed0.json"}
    assert "2 finished" in capsys.readouterr().out


@pytest.mark.usefixtures("package")
def test_experiments_that_do_not_know_a_dataset_are_left_out_and_told() -> None:
    jobs, left_out = _together.plan(["bad", "good"], "movies", only_records=False)
    assert [job.title for job in jobs] == ["bad"]
    assert [(one.job.name, one.outcome) for one in left_out] == [("good", "left out")]
    assert "does not know" in _together.table(left_out)[1]


@pytest.mark.usefixtures("package")
def test_figures_of_finished_runs_are_published(tmp_path: Path) -> None:
    results, study = tmp_path / "results", tmp_path / "study"
    assert main(["good", "--dataset", "criteo", "--publish", "--results", str(results)]) == 0
    assert {path.name for path in study.iterdir()} == {"good-criteo.svg", "good-criteo-again.svg"}
    drawn = results / "good" / "criteo-seed0.svg"
    assert (study / "good-criteo.svg").read_bytes() == drawn.read_bytes()


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(("option", "why"), [(["--quick"], "reduced run"), (["--seed", "2"], "seed 0")])
def test_reduced_runs_and_other_seeds_are_not_published(
    option: Sequence[str], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["good", *option, "--publish", "--results", str(tmp_path / "r")]) == 1
    assert why in capsys.readouterr().err
    assert not (tmp_path / "r").exists() and not (tmp_path / "study").exists(), "nothing was begun"


def _finished(path: Path) -> harness.Document:
    settings = {"dataset": None, "seed": 0, "quick": False}
    return harness.Document(path / "seed0.json", "counting", "", settings, [{"finished": "now"}])


def _unfinished(path: Path) -> harness.Document:
    document = _finished(path)
    document.sessions[-1].clear()
    return document


@pytest.mark.parametrize(
    ("document", "size", "why"),
    [(_finished, 150_001, "150,001 bytes"), (_unfinished, 10, "not finished")],
)
def test_large_figures_and_those_of_unfinished_runs_are_refused(
    document: Callable[[Path], harness.Document], size: int, why: str, tmp_path: Path
) -> None:
    small, figure = tmp_path / "seed0.svg", tmp_path / "seed0-more.svg"
    small.write_bytes(b"x")
    figure.write_bytes(b"x" * size)
    with pytest.raises(InvalidInput, match=why):
        _publishing.publish(document(tmp_path), [small, figure], tmp_path / "study")
    assert not (tmp_path / "study").exists()
    figure.write_bytes(b"x")
    assert len(_publishing.publish(_finished(tmp_path), [small, figure], tmp_path / "study")) == 2
    assert {path.name for path in (tmp_path / "study").iterdir()} == {"counting.svg", "counting-more.svg"}


def test_options_that_contradict_each_other_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reading", "--all"]) == 1
    assert "--all runs every experiment" in capsys.readouterr().err
    assert main(["reading", "--only-records"]) == 1
    assert "Give --all too" in capsys.readouterr().err


def test_experiments_that_measure_seconds_do_not_count_as_look_ups() -> None:
    measuring = ("reading", "tfmem_cost", "anytime_frappe", "in_db_vs_out_db", "computational_cost")
    assert not any(map(_together.on_records, measuring))
    assert all(map(_together.on_records, ("search_space_stats", "tfmem_correlation", "effective_combinations")))
