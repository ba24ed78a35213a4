"""Runs many experiments in one go: each in a process of its own, going on when one fails, with a table at the end."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import benchmarks
from benchmarks import harness

LOGS = "logs"
"""Folder under the results in which what an experiment said is kept."""

FAILED, FINISHED, LEFT_OUT = "failed", "finished", "left out"


@dataclass(frozen=True)
class Job:
    """One experiment on one dataset.

    Args:
        name: Of the experiment.
        dataset: None where it uses none.
        on_records: Whether it looks recorded curves up: such jobs may run side by side, others measure seconds.
    """

    name: str
    dataset: str | None
    on_records: bool

    @property
    def title(self) -> str:
        """Experiment and dataset."""
        return self.name if self.dataset is None else f"{self.name} on {self.dataset}"


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Args:
        job: Which.
        seconds: Wall time of its process.
        outcome: ``finished``, ``failed``, or ``left out``.
        figures: The files that it drew.
        why: Of a failure: the last line that it said.
    """

    job: Job
    seconds: float
    outcome: str
    figures: tuple[str, ...] = ()
    why: str = ""


_MEASURING = {"database", "pinned", "selection"}
"""Modules for what takes real seconds."""


def on_records(name: str) -> bool:
    """Whether an experiment does nothing but look recorded benchmarks up, so that its seconds do not matter.

    It imports `benchmarks._records`, or a private module of this package that does, and nothing that measures: no
    other experiment that does, no server, no process on cores of its own. Nothing is imported to find out.
    """
    needed: set[str] = set()
    _collect(name, needed)
    measures = bool(needed & _MEASURING) or not all(map(on_records, borrowed(name)))
    return "_records" in needed and not measures


def borrowed(name: str) -> set[str]:
    """Other experiments whose modules an experiment imports: it may use their rows."""
    needed: set[str] = set()
    _collect(name, needed)
    return harness.experiments().keys() & needed - {name}


def _collect(name: str, needed: set[str]) -> None:
    """Add what a module imports of this package, on its own or through private modules: modules, or `pinned`."""
    path = Path(benchmarks.__path__[0], f"{name}.py")
    if not path.exists():
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if not (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "benchmarks"):
            continue
        _, _, module = str(node.module).partition(".")
        names = [alias.name for alias in node.names]
        needed.update({"pinned"} if module == "harness" and "run_pinned" in names else ())
        for other in {module} if module else set(names):
            if other not in needed:
                needed.add(other)
                if other.startswith("_"):
                    _collect(other, needed)


def plan(names: Sequence[str], dataset: str | None, only_records: bool) -> tuple[list[Job], list[Outcome]]:
    """What is to be run, and what is left out because it does not know the dataset, or because that is not here.

    Args:
        names: Of experiments.
        dataset: One that experiments may know; ``all`` for each that an experiment knows; None for its first.
        only_records: Leave out whatever trains, scores or starts a server.
    """
    jobs, left_out = [], []
    # Who uses another's rows comes after it.
    for name in sorted(names, key=lambda one: bool(borrowed(one))):
        looks_up = on_records(name)
        if only_records and not looks_up:
            continue
        module = harness.load(name)
        known: Sequence[str] = getattr(module, "DATASETS", ())
        if not known:
            jobs.append(Job(name, None, looks_up))
            continue
        if dataset not in (None, "all", *known):
            left_out.append(Outcome(Job(name, dataset, looks_up), 0.0, LEFT_OUT, why="it does not know the dataset"))
            continue
        missing: Callable[[str], str | None] = getattr(module, "missing", lambda _: None)
        for one in known if dataset == "all" else [dataset or known[0]]:
            if (why := missing(one)) is None:
                jobs.append(Job(name, one, looks_up))
            else:
                left_out.append(Outcome(Job(name, one, looks_up), 0.0, LEFT_OUT, why=why))
    return jobs, left_out


def run_jobs(jobs: Sequence[Job], options: Sequence[str], results: Path) -> Iterator[Outcome]:
    """Run jobs, those that measure seconds one after another and alone, those that look up on every core.

    Args:
        jobs: In the order in which they are told.
        options: Passed on to each ``python -m benchmarks``.
        results: Where results and logs are written.
    """
    alone = [job for job in jobs if not job.on_records]
    beside = [job for job in jobs if job.on_records]

    def one(job: Job) -> Outcome:
        return _run(job, options, results)

    yield from map(one, alone)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        yield from pool.map(one, beside)


def _run(job: Job, options: Sequence[str], results: Path) -> Outcome:
    command = [sys.executable, "-m", "benchmarks", job.name, *options, "--results", str(results)]
    command += [] if job.dataset is None else ["--dataset", job.dataset]
    log = results / LOGS / f"{job.name}{'-' + job.dataset if job.dataset else ''}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    # One thread each: side by side they would take each other's cores, and experiments set their own where it matters.
    environment = {**os.environ, **({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"} if job.on_records else {})}
    began = time.perf_counter()
    with log.open("w") as output:
        status = subprocess.run(
            command, stdout=output, stderr=subprocess.STDOUT, cwd=harness.ROOT, env=environment
        ).returncode
    seconds = time.perf_counter() - began
    lines = [line.strip() for line in log.read_text().splitlines() if line.strip()]
    figures = tuple(line.removeprefix("figure: ") for line in lines if line.startswith("figure: "))
    if status:
        return Outcome(job, seconds, FAILED, figures, f"{lines[-1] if lines else f'status {status}'} ({log})")
    return Outcome(job, seconds, FINISHED, figures)


def table(outcomes: Sequence[Outcome]) -> list[str]:
    """Lines that say what ran: experiment, dataset, seconds, outcome, figures."""
    rows = [("experiment", "dataset", "seconds", "outcome", "figures")]
    for one in outcomes:
        drawn = [Path(figure).name for figure in one.figures if figure.endswith(".svg")]
        told = ", ".join(drawn) if one.outcome == FINISHED else one.why
        rows.append((one.job.name, one.job.dataset or "", f"{one.seconds:.0f}", one.outcome, told))
    widths = [max(len(row[place]) for row in rows) for place in range(4)]
    lines = [
        f"{row[0]:{widths[0]}}  {row[1]:{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]:{widths[3]}}  {row[4]}".rstrip()
        for row in rows
    ]
    count = {outcome: sum(one.outcome == outcome for one in outcomes) for outcome in (FINISHED, FAILED, LEFT_OUT)}
    spent = sum(one.seconds for one in outcomes)
    return [*lines, f"{', '.join(f'{n} {what}' for what, n in count.items() if n)}; {spent / 60:.1f} minutes of runs"]


def run_all(
    names: Sequence[str],
    *,
    dataset: str | None,
    only_records: bool,
    options: Sequence[str],
    results: Path,
    say: Callable[[str], None],
) -> tuple[list[str], bool]:
    """Run experiments in one go.

    Args:
        names: Of experiments.
        dataset: See `plan`.
        only_records: See `plan`.
        options: Passed on to each.
        results: Where results and logs are written.
        say: Told of each experiment as it ends.

    Returns:
        The table's lines, and whether nothing failed.
    """
    jobs, outcomes = plan(names, dataset, only_records)
    began = time.perf_counter()
    for number, outcome in enumerate(run_jobs(jobs, options, results), 1):
        why = f": {outcome.why}" if outcome.why else ""
        say(f"{number} of {len(jobs)}: {outcome.job.title} {outcome.outcome} after {outcome.seconds:.0f} s{why}")
        outcomes.append(outcome)
    lines = table(outcomes)
    lines.append(f"all of it took {(time.perf_counter() - began) / 60:.1f} minutes")
    return lines, all(outcome.outcome != FAILED for outcome in outcomes)
