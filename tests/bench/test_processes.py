"""Processes that share work end with whoever started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

_WORKS = """
import os, sys, time
from trails.bench.processes import process_pool

def begin(number):
    global begun
    begun = number

def where(_):
    time.sleep(0.2)
    return os.getpid(), begun

if __name__ == "__main__":
    pool = process_pool(2, begin, 7)
    found = list(pool.map(where, range(4)))
    assert {number for _, number in found} == {7}
    print(*sorted({process for process, _ in found}), flush=True)
    time.sleep(600)
"""


def test_none_is_left_of_a_process_that_was_killed(tmp_path: Path) -> None:
    script = tmp_path / "works.py"
    script.write_text(_WORKS)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, env=environment) as starter:
        assert starter.stdout is not None
        workers = [int(word) for word in starter.stdout.readline().split()]
        assert workers and all(_is_there(worker) for worker in workers)
        starter.send_signal(signal.SIGKILL)
    for _ in range(300):
        if not any(_is_there(worker) for worker in workers):
            return
        time.sleep(0.1)
    raise AssertionError(f"of {workers} some are there still")


def _is_there(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
