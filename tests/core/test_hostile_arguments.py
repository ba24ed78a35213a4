"""Arguments that no run could use: refused with one sentence that does not repeat megabytes, and no traceback."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.core.test_model import made
from trails import ModelSelector
from trails.errors import InvalidInput, TrailsError, listed, shown, shown_json
from trails.filtering.phase import FilteringRequest
from trails.model.formats import export
from trails.model.store import Model
from trails.refinement.checks import RefinementArguments, check_architectures
from trails.refinement.planning import assumed_training
from trails.refinement.protocol import Candidate, Refine, parse_request, parse_setting
from trails.selection import training_rows
from trails.selector_inputs import threads_of
from trails.table.columns import Column, Columns
from trails.table.frames import column_of
from trails.trainer import InProcess
from trails.training.options import OPTIONS, parse_options
from trails.workers import available_cores

LONG = "x" * 10_000_000
DEEP = "[" * 100_000 + "]" * 100_000
X = np.random.default_rng(0).integers(0, 9, (60, 2))


def deep() -> Any:
    found: Any = []
    for _ in range(100_000):
        found = [found]
    return found


CALLS: dict[str, Callable[[], Any]] = {
    "a long space": lambda: FilteringRequest(LONG, "naswot").check(True),
    "a long metric": lambda: FilteringRequest("mlp2x10", LONG).check(True),
    "a metric often": lambda: FilteringRequest("mlp2x10", "naswot+" * 10**6 + "naswot").check(True),
    "a long sampler": lambda: FilteringRequest("mlp2x10", "naswot", sampler=LONG).check(True),
    "a long scheduler": lambda: RefinementArguments(LONG).check(),
    "a long device": lambda: RefinementArguments("sh", device=LONG).check(),
    "a long task": lambda: RefinementArguments("sh", device="cpu", task=LONG).check(),
    "a long architecture": lambda: check_architectures("mlp2x10", ["8-" * 10**6 + "8"]),
    "a long option": lambda: parse_options({LONG: 1}),
    "a long value": lambda: parse_options({"precision": LONG}),
    "a long list": lambda: parse_options({"dropout": [1] * 10**6}),
    "a long class": lambda: parse_options({"class_weights": {LONG: -1}}),
    "a long column": lambda: training_rows(
        Columns(60, (Column("a", "int64", X[:, 0]), Column("y", "int64", X[:, 1]))),
        "y",
        options=parse_options({"numbers": [LONG]}),
    ),
    "a long format": lambda: export(made("binary").to_bytes(), LONG),
    "options that are deep": lambda: parse_options(DEEP),
    "an option that is deep": lambda: parse_options({"dropout": deep()}),
    "options that are no JSON": lambda: parse_options(LONG),
    "options with too many digits": lambda: parse_options('{"eta": 1' + "0" * 10_000 + "}"),
    "a request that is deep": lambda: parse_request(DEEP),
    "a setting that is deep": lambda: parse_setting(f'{{"request": "rows", "target": {DEEP}}}'),
    "a label that is long": lambda: column_of(LONG, np.array([1, "a"], object)),
    "a negative batch": lambda: FilteringRequest("mlp2x10", "naswot", batch_size=-(2**31)).check(True),
    "a huge batch": lambda: FilteringRequest("mlp2x10", "naswot", batch_size=2**31 - 1).check(True),
}


@pytest.mark.parametrize("call", CALLS)
def test_what_was_given_is_not_repeated_at_length(call: str) -> None:
    with pytest.raises(TrailsError) as caught:
        CALLS[call]()
    error = caught.value
    assert error.sqlstate == "22023" and len(error.message) < 400
    for part in (error.detail, error.hint):
        assert part is None or len(part) < 2_100, part[:200]


def test_messages_have_an_end_whoever_makes_them() -> None:
    error = InvalidInput(LONG, LONG, LONG)
    assert len(str(error)) < 2_100 and len(error.hint or "") < 2_100 and len(error.detail or "") < 21_000


def test_values_are_shown_on_one_line_and_cut() -> None:
    assert shown("a\nb\0c") == "a b c" and shown(LONG) == "x" * 100 + "..."
    assert (shown(True), shown(None), shown_json("a"), shown({"a": 1.5})) == ("true", "null", '"a"', '{"a": 1.5}')
    assert shown(10**5000) == "a int" and len(shown(deep())) <= 103
    assert listed(range(30)) == ", ".join(map(str, range(20))) + ", ..." and listed("ab") == "a, b"


@pytest.mark.parametrize("text", ["1e400", "-1e400", "NaN", "Infinity", "1" + "0" * 400, "-1" + "0" * 400])
@pytest.mark.parametrize("option", [name for name, f in OPTIONS.items() if type(f.default) in (int, float)])
def test_numbers_that_floating_point_does_not_hold_are_refused(option: str, text: str) -> None:
    with pytest.raises(InvalidInput, match=f"option {option} is a") as caught:
        parse_options(f'{{"{option}": {text}}}')
    assert len(caught.value.message) < 300


@pytest.mark.parametrize("text", ["1e400", "NaN", "-1", "0", "true", "1" + "0" * 400])
def test_weights_of_classes_are_positive_numbers(text: str) -> None:
    with pytest.raises(InvalidInput, match="weight above 0"):
        parse_options(f'{{"class_weights": {{"a": {text}}}}}')


@pytest.mark.parametrize("option", [name for name, f in OPTIONS.items() if type(f.default) is int])
def test_whole_numbers_fit_in_an_array(option: str) -> None:
    with pytest.raises(InvalidInput, match=rf"option {option} is -?\d+ to -?\d+|option {option} is .* to "):
        parse_options({option: 2**63})


def forged(change: Callable[[dict[str, Any]], Any]) -> bytes:
    """A model's blob with another header."""
    blob = made("binary").to_bytes()
    length = int.from_bytes(blob[:8], "little")
    outer = json.loads(blob[8 : 8 + length])
    changed = change(json.loads(outer["__metadata__"]["trails"]))
    outer["__metadata__"]["trails"] = changed if isinstance(changed, str) else json.dumps(changed)
    text = json.dumps(outer).encode()
    return len(text).to_bytes(8, "little") + text + blob[8 + length :]


@pytest.mark.parametrize(
    "change",
    [
        lambda header: DEEP,
        lambda header: "[]",
        lambda header: "1",
        lambda header: {**header, "target": []},
        lambda header: {**header, "fields": [1]},
        lambda header: {**header, "fields": {"a": 1}},
        lambda header: {**header, "task": LONG},
        lambda header: {**header, "format": LONG},
        lambda header: {**header, "target": {**header["target"], "mean": 10**400}},
        lambda header: {**header, "fields": [{**header["fields"][0], "buckets": 10**400}, *header["fields"][1:]]},
    ],
)
def test_a_forged_header_is_refused_in_a_sentence(change: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        Model.from_bytes(forged(change))
    assert caught.value.sqlstate == "22023" and len(caught.value.message) + len(caught.value.detail or "") < 1_500


# The estimator


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n_jobs": 0}, "n_jobs == 0"),
        ({"n_jobs": 1.5}, "n_jobs is a whole number"),
        ({"n_jobs": True}, "n_jobs is a whole number"),
        ({"k": 1.5}, "k is a whole number"),
        ({"n": "many"}, "n is a whole number, not many"),
        ({"u": 2**80}, "u is a whole number of 64 bits"),
        ({"k": 10**5000}, "k is a whole number of 64 bits"),
        ({"random_state": 2**64}, "random_state is a whole number of 64 bits"),
        ({"budget": 10**400}, "budget is a number of seconds"),
        ({"options": {"dropout": {1, 2}}}, "options are a mapping"),
        ({"options": [1]}, "options are a mapping"),
        ({"options": {"class_weights": deep()}}, "options are a mapping"),
        ({"options": {"dropout": float("nan")}}, "option dropout is a"),
        ({"task": LONG}, "task is one of"),
        ({"tfmem": LONG}, "no training-free metric"),
    ],
)
def test_parameters_that_mean_nothing_are_refused(changes: dict[str, Any], words: str) -> None:
    plan: dict[str, Any] = {"budget": None, "k": 1, "u": 1, "isolated": False, **changes}
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        ModelSelector(**plan).fit(X, X[:, 0] > 4)
    assert isinstance(caught.value, InvalidInput) and len(str(caught.value)) < 400


def test_numbers_of_numpy_are_numbers() -> None:
    found = ModelSelector(
        budget=None,
        k=np.int64(1),  # type: ignore[arg-type]
        u=np.int32(2),  # type: ignore[arg-type]
        n_jobs=np.int64(1),  # type: ignore[arg-type]
        random_state=np.uint8(3),
        options={"max_epochs": np.int64(2), "dropout": np.float32(0.25), "winner": np.bool_(False)},
    ).fit(X, X[:, 0] > 4)
    assert found.model_.training["epochs"] == 2 and found.model_.training["seed"] == 3


def test_threads_are_counted_as_scikit_learn_counts_them() -> None:
    cores = available_cores()
    assert [threads_of(jobs) for jobs in (None, -1, 1, 10**9)] == [0, 0, 1, cores]
    assert threads_of(-2) == max(1, cores - 1) and threads_of(-(10**9)) == 1


def test_names_that_no_model_can_hold_are_refused() -> None:
    frame = pd.DataFrame(X, columns=pd.Index(["a", "\ud800"], dtype=object))
    with pytest.raises(InvalidInput, match="of a column is no text"):
        ModelSelector(budget=None, k=1, u=1, isolated=False).fit(frame, X[:, 0] > 4)


def test_thousands_of_columns_are_found_by_name_at_once() -> None:
    columns = Columns(1, tuple(Column(f"c{n}", "int32", np.zeros(1, np.int32)) for n in range(100_000)))
    # Every name was looked for among all before it: 200 s.
    assert sum(columns[f"c{n}"].data.size for n in range(100_000)) == 100_000


# In this process


def test_training_here_leaves_nothing_behind() -> None:
    code = """
import os, ctypes, numpy as np, torch
from trails import ModelSelector
libc = ctypes.CDLL(None)
calls = []
before, threads, precision = dict(os.environ), torch.get_num_threads(), torch.get_float32_matmul_precision()
class Watched:
    def __getattr__(self, name):
        calls.append(name)
        return getattr(libc, name)
ctypes.CDLL = lambda *a, **k: Watched()
X = np.random.default_rng(0).integers(0, 9, (300, 3))
ModelSelector(budget=None, k=1, u=1, isolated=False, n_jobs=1).fit(X, X[:, 0] > 4)
print("mallopt" in calls, dict(os.environ) == before, torch.get_num_threads() == threads,
      torch.get_float32_matmul_precision() == precision)
"""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": "/usr/bin", "PYTHONPATH": str(root / "python")},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.stdout.strip() == "False True True True", done.stderr


def test_seconds_of_an_epoch_are_guessed_by_the_columns_in_this_process() -> None:
    data = [(np.arange(2_000) % (number + 2)).astype(np.int32) for number in range(9)]
    train = Columns(2_000, tuple(Column("y" if n == 0 else f"c{n}", "int32", part) for n, part in enumerate(data)))
    candidate = Candidate("512-8-8-8", (512, 8, 8, 8), None)
    asked = {"target": "y", "seed": 1, "started": 0.0, "budget": None, "deadline": None}
    guessed = []
    for columns in (train, Columns(train.rows, train.columns[:2])):
        with InProcess(time.monotonic(), math.inf, 1) as trainer:
            trainer.rows(columns, columns, asked)
            assert trainer._prepared is not None
            setting = replace(trainer._prepared[0], train={**trainer._prepared[0].train, "rows": 100_000_000})
            guessed.append(assumed_training(setting, Refine((candidate,)), 1e-10, 1))
    assert guessed[0] > guessed[1] > 1.0
