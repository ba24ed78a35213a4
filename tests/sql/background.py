"""Runs in the background whose refinement processes follow a script, for the tests of them."""

from __future__ import annotations

from typing import Any

from tests.sql.stub import Stub
from tests.sql.tables import query, wait_until

# A winner at once; then the process stays for as many seconds, or until somebody makes the file `go`.
TRAINS = """
go = os.path.join(sys.prefix, "requests", "go")
asked = receive(); ready(); request = receive(); plan(k=1, u=1)
best = request["candidates"][0][0]
epoch(best, 0, 1, 0.9)
begun = time.monotonic()
while time.monotonic() - begun < {seconds} and not os.path.exists(go):
    time.sleep(0.05)
result([row(best, 0.9)])
"""

SUBMIT = "SELECT trails.submit('train', 'label', '{budget} s', validation => 'valid', n => 10, k => 1, u => 1)"


def follow(session: Any, stub: Stub, seconds: float) -> None:
    """Every worker's refinement process trains for as many seconds from now on."""
    stub.script(TRAINS.format(seconds=seconds))
    (stub.path / "requests" / "go").unlink(missing_ok=True)
    ((database,),) = query(session, "SELECT current_database()")
    query(session, f'ALTER DATABASE "{database}" SET trails.virtualenv = %s', str(stub.path))


def go(stub: Stub) -> None:
    """Ends the training of every process that follows the script."""
    (stub.path / "requests" / "go").touch()


def submit(session: Any, budget: int = 60) -> int:
    ((run,),) = query(session, SUBMIT.format(budget=budget))
    return int(run)


def state(session: Any, run: int) -> str:
    ((found,),) = query(session, "SELECT state FROM trails.background_runs WHERE run_id = %s", run)
    return str(found)


def wait(session: Any, run: int, seconds: int = 60) -> str:
    ((found,),) = query(session, "SELECT trails.wait(%s, make_interval(secs => %s))", run, seconds)
    return str(found)


def wait_for_training(session: Any, stub: Stub, run: int) -> int:
    """Waits until the run's process trains; returns the worker's process id."""
    wait_until(lambda: state(session, run) == "running" and stub.asked("refine"))
    ((worker,),) = query(session, "SELECT pid FROM trails.background_runs WHERE run_id = %s", run)
    return int(worker)
