"""The script for a machine with a GPU: its parts, their time, and what comes back; what computes is a stand-in."""

from __future__ import annotations

import os
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "gpu_pack.sh"

# Keeps a training a call in the folder it is told; `verify` fails, `time` never ends.
_STAND_IN = """#!/usr/bin/env bash
echo "$*" >>"$CALLS"
[ "$4" != verify ] || exit 1
[ "$4" != time ] || [ -z "${SLOW:-}" ] || sleep 60
if [ "$4" = train ]; then
    while [ $# -gt 0 ]; do
        case $1 in --dataset) dataset=$2 ;; --folder) folder=$2 ;; esac
        shift
    done
    mkdir -p "$folder/$dataset/parts"
    echo '{}' >"$folder/$dataset/setting.json"
    touch "$folder/$dataset/.shard-1-of-1.lock"
    echo trained >"$folder/$dataset/parts/curve-$(ls "$folder/$dataset/parts" | wc -l).parquet"
fi
"""


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    file = tmp_path / "python"
    file.write_text(_STAND_IN)
    file.chmod(0o755)
    return file


def pack(tmp_path: Path, stand_in: Path, **environment: str) -> tuple[list[str], str]:
    """Actions and datasets in their order, and the log."""
    calls, out = tmp_path / "calls", tmp_path / "out"
    calls.write_text("")
    settings = {
        **os.environ,
        "PYTHON": str(stand_in),
        "CALLS": str(calls),
        "OUT": str(out),
        "TRAILS_DATA": str(tmp_path),
        "RECORDED": str(tmp_path / "recorded"),
        "DATASETS": "frappe criteo",
        **environment,
    }
    subprocess.run([SCRIPT], env=settings, check=True, capture_output=True, timeout=120)
    words = [line.split() for line in calls.read_text().splitlines()]
    done = [f"{line[3]} {line[line.index('--dataset') + 1]}" for line in words if line[:2] == ["-m", "trails"]]
    return done, (out / "log.txt").read_text()


def archived(file: Path) -> list[str]:
    with tarfile.open(file) as archive:
        return sorted(name for name in archive.getnames() if "." in Path(name).name)


def test_it_times_and_trains_and_goes_on_with_what_came_back(tmp_path: Path, stand_in: Path) -> None:
    done, _ = pack(tmp_path, stand_in)
    assert done == ["time frappe", "time criteo", "train frappe", "train criteo"]
    out = tmp_path / "out"
    assert sorted(file.name for file in out.iterdir()) == ["criteo.tar", "frappe.tar", "log.txt", "summary.txt"]
    assert archived(out / "frappe.tar") == ["frappe/parts/curve-0.parquet", "frappe/setting.json"]
    # What is there is repeated first; that it differs stops nothing.
    done, log = pack(tmp_path, stand_in)
    assert done[:2] == ["verify frappe", "verify criteo"] and done[-1] == "train criteo"
    assert log.count("failed with status 1") == 2
    assert archived(out / "frappe.tar")[:2] == ["frappe/parts/curve-0.parquet", "frappe/parts/curve-1.parquet"]


def test_what_is_recorded_already_goes_along(tmp_path: Path, stand_in: Path) -> None:
    recorded = tmp_path / "recorded" / "criteo"
    recorded.mkdir(parents=True)
    (recorded / "setting.json").write_text("{}")
    (recorded / "curve.parquet").write_text("recorded")
    done, _ = pack(tmp_path, stand_in)
    assert done[0] == "verify criteo" and "verify frappe" not in done
    assert "criteo/curve.parquet" in archived(tmp_path / "out" / "criteo.tar")


def test_a_part_that_does_not_end_is_ended_in_time(tmp_path: Path, stand_in: Path) -> None:
    began = time.monotonic()
    # Of a minute 50 seconds are for archives: the first part takes all that there is.
    done, log = pack(tmp_path, stand_in, MINUTES="1", PACKING="50", SLOW="yes")
    assert time.monotonic() - began < 60
    assert done == ["time frappe"] and "interrupted after" in log


def test_it_says_what_it_needs(tmp_path: Path) -> None:
    lacking = {name: value for name, value in os.environ.items() if name not in ("OUT", "TRAILS_DATA")}
    refused = subprocess.run([SCRIPT], env=lacking, capture_output=True, text=True)
    assert refused.returncode != 0 and "where results go" in refused.stderr
