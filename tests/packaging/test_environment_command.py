"""The command `trails-environment` of the Debian package, with wheels made up for it and no network."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packaging.wheels import make_wheel
from tools.dependencies import ROOT

COMMAND = ROOT / "debian" / "trails-environment"
LOCK = "numpy==2.0\nsafetensors==0.5\ntorch==2.15.0\nonnx==1.0\n"


class Machine:
    """A machine where the package is installed in a folder of its own, with wheels beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.share, self.wheels = folder, folder / "usr" / "share" / "trails", folder / "wheels"
        self.path = folder / "venv"
        (folder / "usr" / "sbin").mkdir(parents=True)
        # There is room, whatever this machine has left.
        (folder / "bin").mkdir()
        (folder / "bin" / "df").write_text("#!/bin/sh\necho Avail\necho 1000000\n")
        (folder / "bin" / "df").chmod(0o755)
        self.command = Path(shutil.copy(COMMAND, folder / "usr" / "sbin"))
        self.install("0.2.0")
        for name, version in (("numpy", "2.0"), ("numpy", "3.0"), ("safetensors", "0.5"), ("onnx", "1.0")):
            make_wheel(self.wheels, name, version, {f"{name}.py": f"version = '{version}'\n"})
        self.torch()

    def install(self, version: str, lock: str = LOCK, said: str = "first") -> None:
        """The files of the package `trails` in some version; `said` tells builds of one version apart."""
        shutil.rmtree(self.share, ignore_errors=True)
        modules = {"trails/__init__.py": f"said = '{said}'\n", "trails/bridge.py": "import numpy\n"}
        extras = {"train": ["torch", "safetensors"], "onnx": ["onnx"]}
        make_wheel(self.share, "trails", version, modules, ["numpy"], extras)
        (self.share / "requirements.lock").write_text(lock)

    def torch(self) -> Path:
        return make_wheel(self.wheels, "torch", "2.15.0", {"torch/__init__.py": "build = 'ordinary'\n"})

    def run(self, *arguments: str | Path, source: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
        own = [*map(str, arguments)]
        if "--path" not in own:
            own += ["--path", str(self.path)]
        if source and not {"--refresh", "--remove"} & {*own}:
            own += ["--from", str(self.wheels)]
        kept = {
            "PATH": f"{self.folder}/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(self.folder),
            "PIP_CONFIG_FILE": os.devnull,
        }
        return subprocess.run(
            ["bash", str(self.command), *own],
            env={**kept, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )

    def python(self, code: str) -> str:
        command = [self.path / "bin" / "python", "-I", "-c", code]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def mark(self) -> dict[str, str]:
        lines = (self.path / ".trails-environment").read_text().splitlines()
        return dict(line.split(" ", 1) for line in lines)


@pytest.fixture
def machine() -> Iterator[Machine]:
    # Where other users can enter, as the server's must.
    with tempfile.TemporaryDirectory(prefix="trails-test-", dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Machine(Path(folder))


def test_an_environment_is_made_brought_up_to_date_and_removed(machine: Machine) -> None:
    # What is missing ends it; what is there then is not made anew.
    torch = machine.torch()
    torch.unlink()
    done = machine.run()
    assert done.returncode == 1 and "run it again to finish it" in done.stderr, done.stderr
    assert machine.mark()["state"] == "making"
    machine.torch()
    inode = (machine.path / "pyvenv.cfg").stat().st_ino
    done = machine.run()
    assert done.returncode == 0, done.stderr
    assert (machine.path / "pyvenv.cfg").stat().st_ino == inode
    assert f"ALTER SYSTEM SET trails.virtualenv = '{machine.path}'" in done.stdout and "CREATE EXTENSION" in done.stdout
    wanted = {"state": "complete", "version": "0.2.0", "extras": "train", "torch": "ordinary"}
    assert machine.mark() == machine.mark() | wanted
    told = machine.python("import numpy, trails, torch; print(numpy.version, trails.said, torch.build)")
    assert told == "2.0 first ordinary"
    assert not [path for path in machine.path.rglob("*") if path.is_file() and not path.stat().st_mode & 0o004]
    assert not (machine.path / ".downloads").exists()

    # Again: nothing.
    before = (machine.path / ".trails-environment").stat().st_mtime_ns
    done = machine.run(source=False)
    assert done.returncode == 0 and "is complete" in done.stderr
    assert (machine.path / ".trails-environment").stat().st_mtime_ns == before

    # What an upgrade does: another build of the same version, and another version; nothing is fetched.
    for version, said in (("0.2.0", "second"), ("0.3.0", "third")):
        machine.install(version, said=said)
        done = machine.run("--refresh", PIP_INDEX_URL="http://127.0.0.1:9/")
        assert done.returncode == 0, done.stderr
        assert machine.python("import trails; print(trails.said)") == said
        assert machine.mark()["version"] == version and machine.mark()["state"] == "complete"

    # Other packages are for the command without that option.
    machine.install("0.4.0", lock=LOCK.replace("numpy==2.0", "numpy==3.0"), said="fourth")
    done = machine.run("--refresh")
    assert done.returncode == 1 and "needs other packages" in done.stderr
    assert machine.python("import trails; print(trails.said)") == "third"
    done = machine.run("--extras", "onnx")
    assert done.returncode == 0, done.stderr
    assert machine.python("import numpy, onnx, trails; print(numpy.version, trails.said)") == "3.0 fourth"
    done = machine.run(source=False)
    assert "is complete" in done.stderr and machine.mark()["extras"] == "onnx,train"

    # Another interpreter's is made anew.
    mark = machine.path / ".trails-environment"
    mark.write_text(mark.read_text().replace("python 3.", "python 2."))
    [packages] = (machine.path / "lib").iterdir()
    packages.rename(packages.with_name("python2.11"))
    done = machine.run("--refresh")
    assert done.returncode == 1 and "another Python" in done.stderr
    done = machine.run()
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (machine.path / "lib").iterdir()] == [packages.name]

    done = machine.run("--remove")
    assert done.returncode == 0 and not machine.path.exists() and "RESET trails.virtualenv" in done.stderr


def test_an_index_gives_torch_alone_and_is_kept(machine: Machine) -> None:
    index = machine.folder / "index" / "torch"
    name = make_wheel(index, "torch", "2.15.0+cpu", {"torch/__init__.py": "build = 'cpu'\n"}).name
    (index / "index.html").write_text(f'<a href="{name.replace("+", "%2B")}">{name}</a>')
    address = (machine.folder / "index").as_uri()
    # Nobody answers at the usual index.
    others = {"PIP_FIND_LINKS": str(machine.wheels), "PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_RETRIES": "0"}
    done = machine.run(source=False, TRAILS_TORCH_INDEX=address, **others)
    assert done.returncode == 0, done.stderr
    assert machine.python("import torch; print(torch.build)") == "cpu"
    kept = machine.path / ".torch-index"
    assert kept.read_text().strip() == address and kept.stat().st_mode & 0o777 == 0o600
    done = machine.run(source=False)
    assert done.returncode == 0 and "is complete" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--path", "venv"), "from the root on"),
        (("--path",), "takes a value"),
        (("--pth", "/x"), "no option '--pth'"),
        (("--extras", "train;rm"), "names with commas"),
        (("--extras", "trian"), "no extra 'trian'"),
        (("--from", "/nowhere/at/all"), "names no folder"),
        (("--configure", "fifteen"), "as 15/main"),
        (("--configure", "14/'none'"), "there is no cluster 14/'none'"),
        (("--remove",), "no environment of this command's making"),
    ],
)
def test_what_cannot_be_is_refused_first(machine: Machine, arguments: tuple[str, ...], why: str) -> None:
    if "--configure" in arguments and (os.getuid() or not shutil.which("pg_lsclusters")):
        pytest.skip("Debian's clusters are for root, where postgresql-common is installed")
    done = machine.run(*arguments, source=False)
    assert done.returncode == 1 and why in done.stderr, done.stderr
    assert not machine.path.exists() or not [*machine.path.iterdir()]


def test_a_folder_that_it_did_not_make_is_left_alone(machine: Machine) -> None:
    machine.path.mkdir()
    (machine.path / "thesis.tex").write_text("mine")
    for arguments in ((), ("--refresh",), ("--remove",)):
        done = machine.run(*arguments)
        assert done.returncode == 1 and "did not make it" in done.stderr, done.stderr
    assert [path.name for path in machine.path.iterdir()] == ["thesis.tex"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root's environment is looked after")
def test_where_others_can_write_nothing_is_made_for_the_server(machine: Machine) -> None:
    below = machine.folder / "open"
    below.mkdir()
    below.chmod(0o777)
    done = machine.run("--path", below / "venv")
    assert not [*below.iterdir()]
    assert done.returncode == 1 and f"others than root can write to {below}" in done.stderr
    below.chmod(0o1777)  # what lies in it is safe from others; what they put in it is not
    done = machine.run("--path", below)
    assert done.returncode == 1 and f"others than root can write to {below}" in done.stderr and not [*below.iterdir()]


def test_what_is_set_or_missing_does_not_keep_it_from_being_removed(machine: Machine) -> None:
    assert machine.run().returncode == 0
    shutil.rmtree(machine.share)
    done = machine.run("--remove", TRAILS_TORCH_INDEX="http://127.0.0.1:9/cpu")
    assert done.returncode == 0 and not machine.path.exists(), done.stderr


def test_two_at_once_are_one_too_many(machine: Machine) -> None:
    machine.path.mkdir()
    with subprocess.Popen(["flock", "--no-fork", machine.path, "sleep", "60"]) as other:
        try:
            while subprocess.run(["flock", "--nonblock", machine.path, "true"], check=False).returncode == 0:
                pass
            done = machine.run()
        finally:
            other.kill()
    assert done.returncode == 1 and "another trails-environment is at work" in done.stderr


def test_help_and_version_need_nothing(machine: Machine) -> None:
    done = machine.run("--help")
    assert done.returncode == 0 and "--configure VERSION/CLUSTER" in done.stdout
    done = machine.run("--version")
    assert (done.returncode, done.stdout.strip()) == (0, "trails-environment 0.2.0")


def test_the_manual_page_names_every_option(machine: Machine) -> None:
    told = machine.run("--help").stdout
    page = (ROOT / "debian" / "trails-environment.8").read_text().replace("\\-", "-")
    for word in told.replace("[", " ").split():
        if word.startswith("--"):
            assert word.strip(",.]()") in page, word
