"""Which packages an environment is made of: PyTorch's ordinary build, or that of an index which the user names."""

from __future__ import annotations

import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from tools.dependencies import ROOT, locked_packages, packages

INDEX = "https://index.example/cpu"

# Stands for the environment's Python: writes down what pip is told, and what the named file lists.
PYTHON = """#!/bin/bash
echo "ARGS $*" >>"$CALLS"
while [ $# -gt 0 ]; do
    [ "$1" != -r ] || cat "$2" >>"$CALLS"
    shift
done
exit "${FAILS:-0}"
"""


class Setup:
    """A home with an environment whose Python only writes down."""

    def __init__(self, home: Path) -> None:
        self.home, self.venv, self.calls = home, home / "venv", home / "calls"
        (self.venv / "bin").mkdir(parents=True)
        python = self.venv / "bin" / "python"
        python.write_text(PYTHON)
        python.chmod(0o755)

    def run(self, function: str, **variables: str) -> subprocess.CompletedProcess[str]:
        script = f"source tools/common.sh; source tools/packages.sh; VENV={self.venv}; {function}"
        environment = {"PATH": "/usr/bin:/bin", "TRAILS_HOME": str(self.home), "CALLS": str(self.calls), **variables}
        return subprocess.run(
            ["bash", "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60
        )

    def told(self) -> tuple[list[str], set[str]]:
        """The calls of pip, and what they were to install from files."""
        lines = self.calls.read_text().splitlines()
        calls = [line.removeprefix("ARGS ") for line in lines if line.startswith("ARGS ")]
        return calls, {line for line in lines if "==" in line and not line.startswith("ARGS ")}


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(tmp_path)


LOCKED = {f"{name}=={version}" for name, version in locked_packages().items()}


def test_by_default_everything_is_as_locked(setup: Setup) -> None:
    assert setup.run("install_packages").returncode == 0
    calls, listed = setup.told()
    assert len(calls) == 1 and "--index-url" not in calls[0] and listed == LOCKED
    assert not (setup.venv / ".torch-index").exists()


def test_an_index_gives_torch_alone_and_nothing_for_gpus_is_installed(setup: Setup) -> None:
    done = setup.run("install_packages", TRAILS_TORCH_INDEX=INDEX)
    assert done.returncode == 0, done.stderr
    [torch, others], listed = setup.told()
    assert f"--index-url {INDEX} torch=={locked_packages()['torch']}" in torch and "--no-deps" in torch
    assert "--index-url" not in others and "--no-deps" in others
    left_out = LOCKED - listed
    assert {line.split("==")[0] for line in left_out} >= {"torch", "triton", "nvidia-cublas", "cuda-bindings"}
    assert all(line.startswith(("torch==", "triton==", "nvidia-", "cuda-")) for line in left_out)
    assert (setup.venv / ".torch-index").read_text().strip() == INDEX
    assert INDEX in done.stderr, "where it comes from is told"


def test_an_index_that_fails_is_told_with_its_log(setup: Setup) -> None:
    done = setup.run("install_packages", TRAILS_TORCH_INDEX=INDEX, FAILS="1")
    assert done.returncode != 0 and INDEX in done.stderr and "whole log" in done.stderr
    assert not (setup.venv / ".torch-index").exists()


@pytest.mark.parametrize(
    ("complete", "remembered", "index", "fine"),
    [
        (False, False, INDEX, True),
        (True, False, "", True),
        (True, False, INDEX, False),
        (True, True, INDEX, True),
        (True, True, "", True),
    ],
)
def test_an_environment_is_not_replaced(setup: Setup, complete: bool, remembered: bool, index: str, fine: bool) -> None:
    for made, name in ((complete, ".complete"), (remembered, ".torch-index")):
        if made:
            (setup.venv / name).touch()
    done = setup.run("check_torch_index", TRAILS_TORCH_INDEX=index)
    assert (done.returncode == 0) is fine, done.stderr
    assert fine or (f"rm -r {setup.venv}" in done.stderr and "TRAILS_HOME=" in done.stderr)


def test_setup_looks_before_it_says_that_everything_is_there() -> None:
    script = (ROOT / "tools" / "setup.sh").read_text()
    assert script.index("\ncheck_torch_index\n") < script.index("package_is_current; then")


@pytest.mark.skipif("+" in version("torch"), reason="PyTorch is not the locked build with all that it brings")
def test_what_is_left_out_is_needed_by_torch_alone() -> None:
    needed_by: dict[str, set[str]] = {}
    for package in packages():
        for need in package.needs:
            needed_by.setdefault(need.split("@")[0], set()).add(package.name)
    left_out = {name for name in locked_packages() if name.startswith(("nvidia-", "cuda-", "triton"))}
    assert len(left_out) > 10
    for name in left_out:
        assert needed_by[name] <= left_out | {"torch"}, name
