"""Runs experiments and records their raw rows, with all that is needed to judge and repeat them."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import json
import os
import pkgutil
import platform
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TypeAlias, cast

from matplotlib.figure import Figure

import benchmarks
from trails.errors import InvalidInput

Row: TypeAlias = dict[str, Any]

ROOT = Path(__file__).resolve().parent.parent
_SUPPORT = {"__main__", "database", "harness", "pinned", "plots", "selection"}


class Experiment(Protocol):
    """What a module in this package offers; see the package's docstring."""

    __name__: str

    def run(self, context: Context) -> None: ...

    def draw(self, document: Document) -> Mapping[str, Figure]: ...


@dataclass
class Document:
    """One results file.

    Args:
        path: Where it is.
        experiment: The module's name.
        sentence: What it computes.
        settings: What must agree for a run to go on from this file: dataset, seed, quick.
        sessions: One per call that added rows: command, start, commit, machine, versions.
        rows: Raw measurements, in the order taken; each holds the number of its session.
    """

    path: Path
    experiment: str
    sentence: str
    settings: Row
    sessions: list[Row] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> Document:
        """Read a results file."""
        content = json.loads(path.read_text())
        return cls(path, **content)

    def write(self) -> None:
        """Replace the file at once, so that an interrupted run leaves a whole one."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "experiment": self.experiment,
            "sentence": self.sentence,
            "settings": self.settings,
            "sessions": self.sessions,
            "rows": self.rows,
        }
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps(content, indent=1) + "\n")
        partial.replace(self.path)

    @property
    def quick(self) -> bool:
        """Whether this is a reduced run."""
        return bool(self.settings["quick"])

    def select(self, **values: object) -> list[Row]:
        """Rows that hold all of ``values``."""
        return [row for row in self.rows if all(row.get(key) == value for key, value in values.items())]

    def values(self, key: str) -> list[Any]:
        """What ``key`` is in any row, each value once, in ascending order."""
        return sorted({row[key] for row in self.rows})


@dataclass
class Context:
    """What an experiment's ``run`` gets.

    Args:
        document: Rows recorded so far; empty unless the run goes on from an earlier one.
        dataset: As chosen on the command line, or the experiment's default; None where it uses no data.
        quick: Whether to do a reduced run.
        seed: Of everything drawn.
    """

    document: Document
    dataset: str | None
    quick: bool
    seed: int

    def record(self, *rows: Row) -> None:
        """Add raw rows and write the file."""
        session = len(self.document.sessions) - 1
        self.document.rows += [{**row, "session": session} for row in rows]
        self.document.write()

    def recorded(self, **values: object) -> list[Row]:
        """Rows that hold all of ``values`` already."""
        return self.document.select(**values)

    def note(self, **facts: object) -> None:
        """Add facts to this session's record, such as the server's version."""
        self.document.sessions[-1].update(facts)
        self.document.write()

    def say(self, text: str) -> None:
        """Tell the person who waits."""
        print(text, file=sys.stderr, flush=True)


def experiments() -> dict[str, str]:
    """Every experiment's name and sentence, without importing any."""
    found = {}
    for module in pkgutil.iter_modules(benchmarks.__path__):
        if module.name in _SUPPORT or module.name.startswith("_"):
            continue
        source = Path(benchmarks.__path__[0], f"{module.name}.py").read_text()
        sentence = ast.get_docstring(ast.parse(source)) or "(says nothing about itself)"
        found[module.name] = sentence.splitlines()[0]
    return found


def load(name: str) -> Experiment:
    """The experiment called ``name``.

    Raises:
        InvalidInput: There is none.
    """
    known = experiments()
    if name not in known:
        raise InvalidInput(f"there is no experiment {name!r}", hint=f"Known: {', '.join(sorted(known))}.")
    return cast(Experiment, importlib.import_module(f"benchmarks.{name}"))


def run(
    module: Experiment, *, results: Path, dataset: str | None, quick: bool, seed: int, fresh: bool = False
) -> Document:
    """Run an experiment, going on from what an earlier full run with the same settings recorded.

    Returns:
        The document, written to ``results/NAME/``.

    Raises:
        InvalidInput: The experiment knows no such dataset.
    """
    name = module.__name__.rpartition(".")[2]
    datasets: Sequence[str] = getattr(module, "DATASETS", ())
    if dataset is not None and dataset not in datasets:
        known = f"Known: {', '.join(datasets)}." if datasets else "It uses none."
        raise InvalidInput(f"experiment {name!r} has no dataset {dataset!r}", hint=known)
    if dataset is None and datasets:
        dataset = datasets[0]

    stem = "-".join([*([dataset] if dataset else []), f"seed{seed}", *(["quick"] if quick else [])])
    path = results / name / f"{stem}.json"
    settings = {"dataset": dataset, "seed": seed, "quick": quick}
    if path.exists() and not quick and not fresh:
        document = Document.read(path)
        if document.settings != settings:
            raise InvalidInput(f"{path} holds other settings than its name says: {document.settings}")
    else:
        document = Document(path, name, experiments()[name], settings)
    document.sessions.append(session())
    context = Context(document, dataset, quick, seed)
    if quick:
        context.say(f"{name}: reduced run (--quick); its figures say so")
    elif document.rows:
        context.say(f"{name}: going on from {len(document.rows)} rows in {path}")
    before = len(document.rows)
    module.run(context)
    if len(document.rows) == before and len(document.sessions) > 1:
        document.sessions.pop()
        context.say(f"{name}: everything was recorded already; --fresh starts over")
    else:
        document.sessions[-1]["finished"] = _now()
    document.write()
    return document


def summary(module: Experiment, document: Document) -> list[str]:
    """Lines that say what came out."""
    summarise = getattr(module, "summarise", None)
    return list(summarise(document)) if summarise is not None else []


def run_pinned(function: str, cores: int = 1, **arguments: object) -> Any:
    """Call a function in a process of its own, on the last cores, with one thread in every numeric library.

    Args:
        cores: How many cores it may use.
        function: ``module:function``, which takes ``arguments`` and returns something that JSON can hold.
        arguments: JSON values.
    """
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    for library in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB_MAXIMUM"):
        environment[f"{library}_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "result.json")
        command = [sys.executable, "-m", "benchmarks.pinned", str(cores), function, json.dumps(arguments), str(output)]
        subprocess.run(command, check=True, cwd=ROOT, env=environment)
        return json.loads(output.read_text())


def session() -> Row:
    """When, with what command, on which machine, with which versions and from which commit."""
    return {
        "started": _now(),
        "command": shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]),
        "commit": _commit(),
        "machine": _machine(),
        "versions": _versions(),
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _commit() -> str:
    """The commit's hash, with ``+changes`` if the working tree differs from it."""
    head = _output("git", "-C", str(ROOT), "rev-parse", "--verify", "HEAD")
    if head is None:
        return "none"
    return head + ("+changes" if _output("git", "-C", str(ROOT), "status", "--porcelain") else "")


def _machine() -> Row:
    processor = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        names = [line for line in information.read_text().splitlines() if line.startswith("model name")]
        processor = names[0].partition(":")[2].strip() if names else processor
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": processor,
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": memory,
        "load_at_start": os.getloadavg()[0],
        "system": platform.platform(),
    }


def _versions() -> Row:
    versions: Row = {"python": platform.python_version(), "postgres": _postgres()}
    for package in ("numpy", "scipy", "torch", "psycopg2-binary"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return versions


def _postgres() -> str | None:
    """Version of the PostgreSQL that servers are started from; an experiment notes the one it really used."""
    from tools.server import ServerError, default_pg_config

    try:
        return _output(str(default_pg_config()), "--version")
    except ServerError:
        return None  # many experiments need none


def _output(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
