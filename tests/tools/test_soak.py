"""The soak in its short form, and that it finds what is wrong."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg2
import pytest

from tools.server import Server
from tools.soak import actions, load, verdict
from tools.soak.__main__ import main
from tools.soak.watch import Held, Sample


def samples(uss: list[float], descriptors: list[int] | None = None, postmaster: float = 0.0) -> list[Sample]:
    """One session, and a postmaster that grows by so many MB a sample."""
    files = descriptors or [30] * len(uss)
    return [
        Sample(n, Held(20.0 + postmaster * n, 20.0, 10), {0: Held(own, own, many)}, 8, 0, 0, 0, 50.0)
        for n, (own, many) in enumerate(zip(uss, files, strict=True))
    ]


FLAT = samples([80.0, 90.0] * 10)


def faults(**seen: Any) -> list[str]:
    known: dict[str, Any] = {
        "tally": load.Tally(),
        "samples": FLAT,
        "failed_runs": {},
        "left": {},
        "log": [],
        "allowed_mb": 16.0,
    }
    return verdict.faults(**known | seen)


@pytest.mark.skipif(
    "TRAILS_SOAK" not in os.environ,
    reason="in less than a minute a busy machine may take too few samples for a verdict; TRAILS_SOAK=1 runs it",
)
def test_a_short_soak_finds_nothing(pg: Server, tmp_path: Path) -> None:
    out = tmp_path / "soak.json"
    status = main(["--minutes", "0.75", "--seed", "5", "--allowed-growth", "96", "--out", str(out)])
    found = json.loads(out.read_text())
    assert status == 0 and found["faults"] == []
    assert found["done"]["predict the same"] > 0 and len(found["samples"]) >= 8
    assert found["left"] == {} and set(found["growth"]) >= {"postmaster", "session 0"}
    # Something was trained, or tried.
    trained = [name for name, action in actions.ACTIONS.items() if action.trains]
    assert any(what.split(": ")[0] in trained for what in [*found["done"], *found["provoked"]])


def test_nothing_wrong_is_no_fault() -> None:
    assert faults() == []


def test_memory_that_grows_is_a_fault_and_one_that_fills_a_cache_is_none() -> None:
    assert faults(samples=samples([float(40 + min(n, 5) * 10) for n in range(20)])) == []
    (fault,) = faults(samples=samples([80.0 + 3 * n for n in range(20)]))
    assert "session 0 has grown by 30.0 MB" in fault
    assert faults(samples=samples([80.0 + 3 * n for n in range(20)]), allowed_mb=40.0) == []
    # What a statement takes and gives back is no growth.
    assert faults(samples=samples([80.0] * 15 + [300.0, 80.0] * 2 + [300.0])) == []
    (fault,) = faults(samples=samples([80.0] * 20, postmaster=1.0))
    assert "postmaster" in fault


def test_descriptors_that_are_not_closed_are_a_fault() -> None:
    (fault,) = faults(samples=samples([80.0] * 20, [30 + n for n in range(20)]))
    assert "10 descriptors more" in fault


def test_too_few_samples_say_nothing() -> None:
    (fault,) = faults(samples=FLAT[:5])
    assert "too few samples (5)" in fault


def test_what_is_left_and_what_the_log_tells_are_faults() -> None:
    assert faults(left={"children": 2}) == ["left behind: children: 2"]
    assert "PANIC" in faults(log=["PANIC:  could not write"])[0]


def test_a_run_that_loses_its_process_without_a_kill_is_a_fault() -> None:
    killed = {7: ("38000", "the refinement process was killed (signal 9)")}
    (fault,) = faults(failed_runs=killed)
    assert "1 runs lost their process, and 0 processes were killed" in fault
    tally = load.Tally(told=Counter(killed=1))
    assert faults(failed_runs=killed, tally=tally) == []
    (fault,) = faults(failed_runs={7: ("38000", "the refinement process ended with exit code 1")}, tally=tally)
    assert "run 7" in fault
    assert faults(failed_runs={7: ("53400", ""), 8: ("57014", "")}) == []
    (fault,) = faults(failed_runs={8: ("XX000", "odd")})
    assert "XX000 odd" in fault


class Failing:
    """A client whose every statement ends with the same error, or the same rows."""

    def __init__(self, error: Exception | None = None, rows: Any = ()) -> None:
        self.error, self.rows, self.blamed = error, rows, list[str]()

    def query(self, *_: Any) -> Any:
        if self.error:
            raise self.error
        return self.rows

    def wrong(self, what: str) -> None:
        self.blamed.append(what)


def test_scores_that_change_are_wrong() -> None:
    for rows, blamed in (([(True,)], 0), ([(False,)], 1), ([(None,)], 1)):
        client = Failing(rows=rows)
        actions.predict_the_same(client)  # type: ignore[arg-type]
        assert len(client.blamed) == blamed


@pytest.mark.parametrize(
    ("doing", "code", "message", "wrong"),
    [
        ("predict rows", "42704", "there is no such model", False),
        ("predict the same", "42704", "there is no such model", True),
        ("look", "57014", "canceling statement due to user request", True),
        ("select", "57014", "canceling statement due to user request", False),
        ("select", "57014", "canceling statement due to statement timeout", True),
        ("select", "38000", "the refinement process was killed (signal 9)", False),
        ("select", "38000", "the refinement process ended with exit code 1", True),
        ("go away", None, "server closed the connection unexpectedly", False),
        ("look", None, "server closed the connection unexpectedly", True),
    ],
)
def test_an_error_is_wrong_unless_its_action_provokes_it(doing: str, code: str, message: str, wrong: bool) -> None:
    class Told(psycopg2.Error):
        pgcode = code

    session: Any = SimpleNamespace(_tally=load.Tally(), doing=doing)
    session.wrong = lambda what: session._tally.blame(what)
    load.Session._judge(session, Told(message), actions.ACTIONS[doing])
    assert bool(session._tally.wrong) is wrong
    assert bool(session._tally.provoked) is not wrong
