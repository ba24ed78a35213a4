"""A builder on a Ray cluster records what one on this machine records, also when a process is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from tests.bench.test_build import DECIDED
from tests.refinement.backend import PYTHON_ROOT
from tools.ray_nodes import Nodes
from trails.bench.building.build import build
from trails.bench.protocol import Protocol
from trails.bench.store import Store
from trails.errors import InvalidInput

# Ray wants a process of its own: it changes the working folder and starts threads.
_BUILDER = """
import json
import sys
from pathlib import Path
from trails.bench.building.build import build
from trails.bench.protocol import Protocol
if __name__ == "__main__":
    folder, protocol, address = Path(sys.argv[1]), Protocol(**json.loads(sys.argv[2])), sys.argv[3]
    build(protocol, folder, 4, seeds=(1, 2), ray_address=address)
"""


def test_a_cluster_records_the_same_curves_and_a_lost_process_costs_nothing(protocol: Protocol, tmp_path: Path) -> None:
    # Long enough for a process to be found at work.
    protocol = replace(protocol, epochs=40)
    script = tmp_path / "builder.py"
    script.write_text(_BUILDER)
    here, there = tmp_path / "here", tmp_path / "there"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    arguments = [sys.executable, str(script), str(there), json.dumps(asdict(protocol))]
    with (
        Nodes((1,), environment={"PYTHONPATH": str(PYTHON_ROOT)}) as nodes,
        subprocess.Popen([*arguments, nodes.address], stderr=subprocess.PIPE, env=environment) as builder,
    ):
        killed = False
        while builder.poll() is None and not killed:
            for process in nodes.training():
                os.kill(process, signal.SIGKILL)
                killed = True
            time.sleep(0.02)
        _, said = builder.communicate(timeout=240)
    assert builder.returncode == 0, said.decode()
    assert killed and "a task was lost" in said.decode(), said.decode()
    assert build(protocol, here, 4, seeds=(1, 2), processes=1) == 8
    assert Store(there).curves().select(DECIDED).equals(Store(here).curves().select(DECIDED))
    assert Store(there).predictions().equals(Store(here).predictions())


def test_an_address_that_is_none_is_told(protocol: Protocol, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is not the address of a Ray cluster"):
        build(protocol, tmp_path / "small", 1, seeds=(1,), ray_address="nowhere")
