"""A virtual environment whose refinement process follows a script: faults at the moment that a test names.

The backend runs the real package; only `trails.refinement.child` is replaced.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# What a script may use. The requests that came are kept where the test can read them.
_CHILD = """
import json, os, signal, sys, time

def send(event, **fields):
    os.write(1, json.dumps({"event": event, **fields}).encode() + b"\\n")

def receive():
    line = sys.stdin.buffer.readline()
    with open(os.path.join(sys.prefix, "requests", "log"), "ab") as log:
        log.write(line)
    return json.loads(line)

def ready():
    send("ready", seconds=0.1, device="cpu")

def rows(task="binary", metric="auc", **more):
    send("rows", seconds=0.1, first_batch=0.2, task=task, metric=metric, **more)

def plan(k=2, u=1):
    send("plan", n=100, k=k, u=u, filtering_seconds=0.1, refinement_seconds=1.0, epoch_seconds=0.5)

def epoch(architecture, rung, epoch, auc):
    send("epoch", architecture=architecture, rung=rung, epoch=epoch, train_loss=0.5, validation_loss=0.6,
         validation_metric=auc, seconds=0.25)

def checkpoint(rows, rung, which, data, length=None):
    os.pwrite(rows["checkpoints"][which], data, 0)
    send("checkpoint", rung=rung, which=which, length=len(data) if length is None else length)

def model(rows, which=0):
    with open(os.path.join(sys.prefix, "model"), "rb") as file:
        data = file.read()
    os.pwrite(rows["models"][which], data, 0)
    send("model", architecture="8-8-8-8", which=which, length=len(data))

def row(architecture, auc, epochs=1, score=None):
    return {"architecture": architecture, "score": score, "validation_metric": auc, "validation_loss": 0.6,
            "epochs": epochs, "best_epoch": epochs, "parameters": 1000, "seconds": 0.25}

def result(rows, complete=True, timings=()):
    send("result", leaderboard=rows, complete=complete, timings=list(timings))

exec(open(os.path.join(sys.prefix, "script.py")).read())
"""


class Stub:
    """The environment at `path`, whose refinement process runs what `script` was given last."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def script(self, text: str) -> None:
        """Python that each refinement process runs from now on; see `_CHILD` for what it may use."""
        (self.path / "script.py").write_text(text)
        self.forget()

    def keep(self, model: bytes) -> None:
        """What `model` in a script writes as the best model so far."""
        (self.path / "model").write_bytes(model)

    def forget(self) -> None:
        """Forget what was asked so far."""
        self._log.unlink(missing_ok=True)

    def asked(self, request: str) -> bool:
        """Whether the process has been sent such a request since the script was set."""
        return self._log.exists() and f'"request":"{request}"' in self._log.read_text()

    @property
    def _log(self) -> Path:
        return self.path / "requests" / "log"

    def requests(self) -> list[dict[str, Any]]:
        """What the process was sent since the script was set."""
        return [json.loads(line) for line in self._log.read_text().splitlines()] if self._log.exists() else []


# The refinement process loads torch, which needs gigabytes of address space, and has a limit of its own.
_UNLIMITED = (
    "import resource, sys; 'trails.refinement.child' in sys.orig_argv and "
    "resource.setrlimit(resource.RLIMIT_AS, (resource.getrlimit(resource.RLIMIT_AS)[1],) * 2)\n"
)


@contextmanager
def _environment_like(real: Path) -> Iterator[tuple[Path, Path, Path]]:
    """An empty environment with the interpreter of `real`: where it is, its packages' folder, and that of `real`."""
    (packages,) = real.glob("lib/python3*/site-packages")
    interpreter = (real / "bin" / "python").resolve()
    with tempfile.TemporaryDirectory(prefix="trails-stub-") as folder:
        place = Path(folder)
        own = place / packages.relative_to(real)
        own.mkdir(parents=True)
        (place / "bin").mkdir()
        (place / "bin" / "python").symlink_to(interpreter)
        (place / "pyvenv.cfg").write_text(f"home = {interpreter.parent}\ninclude-system-site-packages = false\n")
        yield place, own, packages


def _link(below: Path, here: Path) -> None:
    """Links everything in `below` that is not `here` yet."""
    for entry in below.iterdir():
        if not (here / entry.name).exists() and entry.suffix != ".pth":
            (here / entry.name).symlink_to(entry)


def _let_in(place: Path) -> None:
    """The server runs as another user."""
    for directory in [place, *(p for p in place.rglob("*") if p.is_dir() and not p.is_symlink())]:
        directory.chmod(0o755)


@contextmanager
def unlimited_environment(real: Path) -> Iterator[Path]:
    """The environment `real`, whose refinement process lifts the server's limit of its address space for itself."""
    with _environment_like(real) as (place, own, packages):
        (own / "unlimited.pth").write_text(_UNLIMITED)
        _link(packages, own)
        _let_in(place)
        yield place


@contextmanager
def stub_environment(real: Path) -> Iterator[Stub]:
    """The packages of the environment `real`, with the refinement process replaced."""
    with _environment_like(real) as (place, own, packages):
        refinement = own / "trails" / "refinement"
        refinement.mkdir(parents=True)
        (refinement / "child.py").write_text(_CHILD)
        (place / "requests").mkdir()
        for below in ("", "trails", "trails/refinement"):
            _link(packages / below, own / below)
        _let_in(place)
        (place / "requests").chmod(0o777)
        yield Stub(place)
