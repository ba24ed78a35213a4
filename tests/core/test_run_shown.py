"""A run in a notebook, and the bar that shows how a selection gets on."""

from __future__ import annotations

import io
import math
import subprocess
import sys
import types
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trails import ModelSelector, ModelSelectorRegressor, Run, progress_bar
from trails.errors import InvalidInput

FACTS = {"source": "shop.orders & <b>", "target": "paid", "budget": 60.0, "seconds": 59.4, "metric": "accuracy"}


def candidate(name: str, metric: float | None, epochs: int = 2) -> dict[str, Any]:
    return {
        "architecture": name,
        "score": 3.0,
        "rank": 1,
        "validation_metric": metric,
        "epochs": epochs,
        "parameters": 12_345,
        "seconds": 1.5,
    }


def trial(name: str, rung: int, epoch: int, metric: float | None) -> dict[str, Any]:
    losses = {"train_loss": 0.1, "validation_loss": 0.2}
    return {"architecture": name, "rung": rung, "epoch": epoch, "validation_metric": metric, "seconds": 1.0, **losses}


def parsed(html: str) -> ElementTree.Element:
    """The fragment, which is to be well formed, as elements."""
    return ElementTree.fromstring(html.replace(" class=winner", ' class="winner"'))


def made_run(count: int = 14) -> Run:
    names = [f"{8 * (place + 1)}-16" for place in range(count)]
    candidates = [candidate(name, 0.9 - 0.01 * place) for place, name in enumerate(names)]
    trials = [trial(name, epoch - 1, epoch, 0.8 + 0.001 * epoch) for name in names for epoch in (1, 2)]
    return Run(FACTS, [candidate("64-64", None, 0), *candidates[::-1]], trials)


def test_a_run_is_shown_with_its_curves_and_its_best_candidates_first() -> None:
    page = parsed(made_run()._repr_html_())
    rows = ["".join(cell.itertext()) for row in page.iter("tr") for cell in row]
    assert rows[:6] == ["", "architecture", "validation accuracy", "epochs", "parameters", "seconds"]
    assert rows[6:12] == ["1", "8-16", "0.90000", "2", "12,345", "1.5"]
    assert len(list(page.iter("tr"))) == 11 and "and 4 more" in "".join(page.itertext())
    lines = list(page.iter("polyline"))
    assert len(lines) == 14
    # The winner lies on top: it is drawn last, and thicker.
    assert float(lines[-1].attrib["stroke-width"]) > float(lines[0].attrib["stroke-width"])
    points = [tuple(map(float, point.split(","))) for point in lines[-1].attrib["points"].split()]
    assert len(points) == 2 and points[1][0] > points[0][0] and points[1][1] < points[0][1]


def test_what_a_run_is_called_cannot_become_markup() -> None:
    html = Run({**FACTS, "state": "best so far", "fault": "<script>"}, [candidate("<i>-8", 0.5)], [])._repr_html_()
    assert "<b>" not in html and "<script>" not in html and "<i>" not in html
    text = "".join(parsed(html).itertext())
    assert "shop.orders & <b>, target paid" in text and "best so far; <script>" in text


@pytest.mark.parametrize("metric", [None, math.nan])
def test_runs_without_curves_or_candidates_are_shown(metric: float | None, tmp_path: Path) -> None:
    nothing = parsed(Run(FACTS, [candidate("8-8", None)], [])._repr_html_())
    assert "nothing was trained" in "".join(nothing.itertext())
    one = parsed(Run(FACTS, [candidate("8-8", 0.5)], [trial("8-8", 0, 1, metric)])._repr_html_())
    assert not list(one.iter("svg")) and "8-8" in "".join(one.itertext())
    unknown = {"parameters": None, "seconds": None, "score": None}
    bare = parsed(Run({"source": "t"}, [candidate("8-8", 0.5) | unknown], [])._repr_html_())
    assert ["".join(cell.itertext()) for cell in list(bare.iter("tr"))[1]] == ["1", "8-8", "0.50000", "2", "", ""]
    several = [candidate(name, 0.5) | {"rank": None} for name in ("8-8", "16-8")]
    for trials in ([], [trial("8-8", 0, 1, None)], [trial("8-8", 0, 1, None), trial("8-8", 0, 2, 0.5)]):
        Run(FACTS, several, trials).draw(tmp_path / "drawn")
        assert (tmp_path / "drawn.png").stat().st_size
        (tmp_path / "drawn.png").unlink()
    level = parsed(Run(FACTS, [candidate("8-8", 0.5)], [trial("8-8", 0, 1, 0.5)])._repr_html_())
    assert len(list(level.iter("circle"))) == 1


def test_the_text_of_a_run_names_its_best() -> None:
    assert repr(made_run()).endswith("8-16: accuracy 0.90000")
    assert repr(Run(FACTS, [], [])).startswith("shop.orders & <b>, target paid")


def fitted(**changes: Any) -> ModelSelector:
    X = np.random.default_rng(0).normal(size=(300, 3))
    selector = ModelSelectorRegressor(budget=None, k=2, u=2, isolated=False, n_jobs=1, **changes)
    return selector.fit(X, X[:, 0] + 1.0)


def test_the_estimator_shows_its_parameters_and_after_fit_its_leaderboard() -> None:
    before = ModelSelectorRegressor(budget=5)
    assert before._repr_html_() == "<pre>ModelSelectorRegressor(budget=5)</pre>"
    found = fitted(options={"max_epochs": 3, "winner": False})
    text = "".join(parsed(found._repr_html_()).itertext())
    assert "validation R²" in text and found.leaderboard_[0]["architecture"] in text
    shown = found._repr_html_()
    found.set_params(budget="of another fit", tfmem="synflow")
    assert found._repr_html_() == shown, "what was fitted is shown, whatever is set since"


def test_a_bar_shows_time_phases_and_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    fitted(options={"max_epochs": 3, "winner": False}, progress=True)
    told = written.getvalue()
    assert "scoring" in told and "training" in told and "R² " in told
    # Taken away again: the last thing written is an empty line's beginning.
    assert told.split("\r")[-2].strip() == "" and told.endswith("\r")


def test_nobody_gets_a_bar_unasked_outside_notebooks(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    fitted(options={"max_epochs": 2, "winner": False})
    assert written.getvalue() == ""
    assert not progress_bar.fits_here()
    kernel = types.SimpleNamespace(config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: kernel))
    assert progress_bar.fits_here()
    kernel.config = {"TerminalIPythonApp": {}}
    assert not progress_bar.fits_here()


def test_a_bar_is_taken_away_where_a_selection_fails() -> None:
    with pytest.raises(ZeroDivisionError), progress_bar.ProgressBar(10.0) as bar:
        raise ZeroDivisionError
    assert bar._bar.disable


def test_without_tqdm_a_bar_that_is_asked_for_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['tqdm'] = None; sys.modules['tqdm.auto'] = None\n"
        "from trails.progress_bar import ProgressBar\n"
        "try:\n    ProgressBar(5.0)\n"
        "except Exception as error:\n    print(type(error).__name__, error.hint)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"{InvalidInput.__name__} Install it: python -m pip install tqdm")
