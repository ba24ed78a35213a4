"""Refinement on a Ray cluster of two nodes: the same leaderboard as here, whatever happens to the nodes."""

from __future__ import annotations

import math
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tests.refinement.backend import CANDIDATES, PYTHON_ROOT, Backend, Event, Outcome, Table, run
from tests.timing import RESERVE, within
from tools.ray_nodes import Nodes
from trails.errors import InvalidInput, TrailsError
from trails.refinement.protocol import Setting
from trails.refinement.ray_connection import connect, slots_of

PLAN: dict[str, Any] = {"k": 6, "u": 1, "budget": 120.0, "options": {"dropout": 0.2}}


def start() -> Nodes:
    return Nodes((1, 1), environment={"PYTHONPATH": str(PYTHON_ROOT)})


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with start() as started:
        yield started


@pytest.fixture(scope="module")
def here(train: Table, validation: Table) -> Outcome:
    return run(train, validation, CANDIDATES, **PLAN)


@pytest.fixture(scope="module")
def there(nodes: Nodes, train: Table, validation: Table) -> Outcome:
    return run(train, validation, CANDIDATES, ray_address=nodes.address, **PLAN)


@pytest.fixture(scope="module")
def long(train: Table) -> Table:
    """Rows enough for an epoch of a wide candidate to take seconds."""
    rows = np.tile(np.arange(train.rows), 10)
    return Table({name: column[rows] for name, column in train.columns.items()})


def learnt(rows: list[Any]) -> list[dict[str, Any]]:
    """Everything but times."""
    return [{name: value for name, value in row.items() if name not in ("seconds", "at")} for row in rows]


def wait_for(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    began = time.monotonic()
    while not (found := condition()):
        assert within(time.monotonic() - began, 0.0, seconds), "waited in vain"
        time.sleep(0.05)
    return found


def test_the_same_leaderboard_as_on_one_machine(here: Outcome, there: Outcome) -> None:
    # To the last bit: each candidate has one thread, here and there.
    assert learnt(there.leaderboard) == learnt(here.leaderboard)
    assert there.last["complete"] is True and there.status == 0


def test_the_same_events(here: Outcome, there: Outcome) -> None:
    def curves(outcome: Outcome) -> list[dict[str, Any]]:
        epochs: list[dict[str, Any]] = learnt(outcome.named("epoch"))
        return sorted(epochs, key=lambda e: (e["architecture"], e["epoch"]))

    assert curves(there) == curves(here)
    assert learnt(there.named("rung")) == learnt(here.named("rung"))
    plan = there.named("plan")[0]
    assert (plan["k"], plan["u"]) == (6, 1) and plan["epoch_seconds"] > 0
    assert [row["phase"] for row in there.last["timings"]].count("connect") == 1


def test_both_nodes_train(nodes: Nodes, there: Outcome) -> None:
    trained = nodes.trained()
    assert len(trained) == 2 and all(trained.values()), trained
    lines = " ".join(line for node in trained.values() for line in node)
    assert all(architecture in lines for architecture, _ in CANDIDATES)


def test_checkpoints_go_on_from_a_cluster_to_one_machine(nodes: Nodes, train: Table, validation: Table) -> None:
    with Backend(train, validation) as backend:
        assert backend.event() is not None
        backend.send(CANDIDATES[3:], 120.0, k=3, u=1, ray_address=nodes.address)
        events = backend.rest()
        last = [e for e in events if e["event"] == "checkpoint"][-1]
        blob = backend.checkpoint(last)
    file = os.memfd_create("checkpoint")
    os.write(file, blob)
    with Backend(train, validation, files=(file,)) as backend:
        assert backend.event() is not None
        backend.send([], 120.0, k=3, u=1, resume={"fd": file, "length": len(blob)})
        resumed = backend.rest()[-1]
    os.close(file)
    assert learnt(resumed["leaderboard"]) == learnt(events[-1]["leaderboard"])


def test_the_time_left_is_used_and_the_deadline_kept(nodes: Nodes, long: Table, validation: Table) -> None:
    wide = [(f"512-512-{width}-512", 1e3 - width) for width in (384, 256, 240, 224)]
    with Backend(long, validation) as backend:
        assert backend.event() is not None
        backend.started = time.monotonic() - 2.0
        deadline = backend.send(wide, 18.0, {"max_epochs": 30}, k=4, u=30, ray_address=nodes.address)
        events = backend.rest()
    assert events[-1]["event"] == "result", events[-1]
    assert events[-1]["complete"] is False and events[-1]["leaderboard"]
    assert within(events[-1]["at"], deadline - RESERVE, RESERVE)
    assert any(e["event"] == "progress" for e in events)
    wait_for(lambda: not nodes.training())


def test_a_cluster_is_left_alone_when_the_run_is_killed(nodes: Nodes, long: Table, validation: Table) -> None:
    with Backend(long, validation) as backend:
        assert backend.event() is not None
        backend.send([("512-512-512-512", 1.0), ("512-512-384-512", 2.0)], 300.0, k=2, u=9, ray_address=nodes.address)
        wait_for(nodes.training)
        os.killpg(backend.process.pid, signal.SIGKILL)
        backend.process.wait(10)
    wait_for(lambda: not nodes.training())


def started_training(backend: Backend) -> list[Event]:
    """Events up to the first epoch, and with it."""
    events: list[Event] = []
    while not events or events[-1]["event"] != "epoch":
        event = backend.event()
        assert event is not None and event["event"] not in ("error", "result"), event
        events.append(event)
    return events


def test_what_is_lost_is_trained_again(long: Table, validation: Table) -> None:
    """First a process is killed in the middle of an epoch, then a whole node."""
    some, plan = CANDIDATES[:3], {"k": 3, "u": 2, "options": {"max_epochs": 6}}
    here = run(long, validation, some, 120.0, **plan)
    with start() as nodes, Backend(long, validation) as backend:
        assert backend.event() is not None
        backend.send(some, 120.0, ray_address=nodes.address, **plan)
        events = started_training(backend)
        os.kill(wait_for(lambda: nodes.training(0))[0], signal.SIGKILL)
        wait_for(lambda: nodes.training(1))
        nodes.kill(1)
        events += backend.rest()
        assert backend.process.stderr is not None
        log = backend.process.stderr.read().decode()
    assert events[-1]["event"] == "result", events[-1]
    assert learnt(events[-1]["leaderboard"]) == learnt(here.leaderboard)
    assert log.count("was lost") >= 2, log
    epochs = [(e["architecture"], e["epoch"]) for e in events if e["event"] == "epoch"]
    assert len(epochs) == len(set(epochs)), "an epoch was reported twice"


def error_within(seconds: float, train: Table, validation: Table, address: str, **changes: Any) -> Event:
    with Backend(train, validation) as backend:
        assert backend.event() is not None
        began = time.monotonic()
        backend.send(CANDIDATES, 60.0, ray_address=address, **changes)
        error = backend.rest()[-1]
        assert error["event"] == "error", error
        assert within(error["at"] - began, 0.0, seconds)
        return error


@pytest.mark.parametrize("listens", [False, True])
def test_a_dead_address_is_named_within_ten_seconds(listens: bool, train: Table, validation: Table) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        if listens:
            silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        error = error_within(10.0, train, validation, address)
    assert error["message"] == f'the Ray cluster at "{address}" does not answer'
    assert error["sqlstate"] == "22023" and error["hint"]


def setting(address: str, gpus: float = 0.0) -> Setting:
    return Setting("label", 1, 0.0, math.inf, math.inf, {}, None, ray_address=address, ray_gpus=gpus)


@pytest.mark.parametrize("address", ["local", "auto", "ray://127.0.0.1:10001", "127.0.0.1", "127.0.0.1:0", "x:99999"])
def test_what_is_not_an_address(address: str) -> None:
    with pytest.raises(InvalidInput, match=f'"{address}" is not the address of a Ray cluster') as raised:
        connect(setting(address))
    assert "host:port" in str(raised.value.hint)


def test_gpus_that_no_node_has(nodes: Nodes, train: Table, validation: Table) -> None:
    error = error_within(20.0, train, validation, nodes.address, ray_gpus=1.0)
    assert "no node" in error["message"] and error["sqlstate"] == "22023"


def test_one_and_a_half_gpus() -> None:
    with pytest.raises(InvalidInput, match="whole numbers"):
        connect(setting("127.0.0.1:1", 1.5))


@pytest.mark.parametrize(("gpus", "slots"), [(0.0, 11), (0.3, 7), (0.5, 5), (1.0, 3), (2.0, 1), (4.0, 0)])
def test_slots_are_counted_by_node(gpus: float, slots: int) -> None:
    class Ray:
        @staticmethod
        def nodes() -> list[dict[str, Any]]:
            has = [{"CPU": 8.0, "GPU": 2.0}, {"CPU": 1.0, "GPU": 1.0}, {"CPU": 2.0}, {}]
            gone = {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}}
            return [gone, *({"Alive": True, "Resources": resources} for resources in has)]

    assert slots_of(Ray, setting("127.0.0.1:1", gpus), must=False) == slots


def test_without_ray_the_hint_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(TrailsError, match="Ray is not installed") as raised:
        connect(setting("127.0.0.1:1"))
    assert "trails[ray]" in str(raised.value.hint)
