"""A run in sentences: what was asked, what was planned of it, and what came."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from trails.plots.common import metric_name

SCHEDULERS: Mapping[str, str] = MappingProxyType(
    {
        "sh": "successive halving",
        "sj": "successive rejects",
        "ua": "uniform allocation",
        "hyperband": "Hyperband",
    }
)


def count(number: int, one: str, several: str | None = None) -> str:
    """A number with its noun."""
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def duration(seconds: float | None) -> str:
    """Seconds as people say them."""
    if seconds is None:
        return ""
    if seconds < 120:
        return f"{seconds:.3g} s" if seconds < 100 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def plan(run: Mapping[str, Any], rungs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Sentences.

    Args:
        run: As `runs.one_run` gives it.
        rungs: As `runs.rungs` gives them; none if they are not known.
    """
    said = [_rows(run), _filtering(run), _first_rung(run)]
    said += [_rungs(rungs)] if rungs else []
    said += [_end(run)]
    return [sentence for sentence in said if sentence]


def origin(made_of: Mapping[str, Any]) -> list[str]:
    """Sentences about a run whose record cannot be seen.

    Args:
        made_of: As ``trails.models.made_of`` has it, without what is NULL.
    """
    run = defaultdict[str, Any](lambda: None, made_of)
    return [sentence for sentence in (_rows(run), _filtering(run), _first_rung(run)) if sentence]


def was_stopped(run: Mapping[str, Any]) -> bool:
    """Whether somebody ended a run before its time, which is no fault."""
    return str(run["fault"] or "").endswith("was stopped by trails.stop")


def fault_of(job: Mapping[str, Any]) -> str | None:
    """What ended a run in the background, in one text; None if nothing did."""
    if not job["message"]:
        return None
    return " ".join([f"{job['message']}.", *(job[name] for name in ("detail", "hint") if job[name])])


def _rows(run: Mapping[str, Any]) -> str:
    known = run["held_out"] or {}
    held = known.get("validation_rows", run["validation_rows"])
    if run["validation"]:
        # Of rows that weigh nothing none is learnt from.
        learnt = count(known.get("training_rows", run["train_rows"]), "row")
        said = f"Candidates learnt from {learnt} of {run['source']} and were compared on "
        said += f"{count(held or 0, 'row')} of {run['validation']}"
    elif "training_rows" in known:
        said = f"Candidates learnt from {count(known['training_rows'], 'row')} of {run['source']} and were compared on "
        said += f"{count(held, 'other')}, {_which(run, known)}"
    else:
        # Earlier releases counted them together.
        rows = count(run["train_rows"], "row")
        said = f"Of {rows} of {run['source']} candidates learnt from most and were compared on the others, "
        said += _which(run, known)
    if run["weight"]:
        said += f"; a row counts for as much as its {run['weight']} says"
        if nothing := known.get("rows_of_weight_0"):
            said += f", and {count(nothing, 'row')} for nothing"
    left = f"; {count(run['unusable_rows'], 'row')} without a target left out" if run["unusable_rows"] else ""
    return f"{said}{left}."


def _which(run: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    """Which rows of the source were held out."""
    if run["split"]:
        return f"as {run['split']} says"
    if run["group_by"]:
        several = known.get("validation_groups")
        groups = "whole groups" if several is None else count(several, "whole group")
        return f"{groups} by {run['group_by']}"
    if run["time_by"]:
        since = f", from {known['from']} on" if "from" in known else ""
        return f"the latest by {run['time_by']}{since}"
    return "which were drawn"


def _filtering(run: Mapping[str, Any]) -> str:
    if run["scored"] is None:
        return "The caller named the candidates: nothing was scored." if run["tfmem"] is None else ""
    took = f" in {duration(run['filtering_seconds'])}" if run["filtering_seconds"] is not None else ""
    failed = f"; {count(run['failed_scores'], 'score was', 'scores were')} no number" if run["failed_scores"] else ""
    scored, were = count(run["scored"], "architecture"), "was" if run["scored"] == 1 else "were"
    return f"{scored} of the space {run['space']} {were} scored by {run['tfmem']}, without training{took}{failed}."


def _first_rung(run: Mapping[str, Any]) -> str:
    if run["k"] is None:
        return ""
    if run["asked_architectures"] is not None or run["function"] == "refinement_phase":
        chosen = "those that were named"
    elif run["asked_k"] is not None:
        chosen = "as asked"
    else:
        chosen = "as many as the budget holds at the speed that was measured"
    way = SCHEDULERS.get(run["refinement"], run["refinement"])
    epochs = f" for {count(run['u'], 'epoch')} each" if run["u"] is not None else ""
    were = "was" if run["k"] == 1 else "were"
    said = f"{count(run['k'], 'candidate')} ({chosen}) {were} planned for the first rung{epochs}, by {way}"
    return f"{said}, on {run['device']}." if run["device"] else f"{said}."


def _rungs(rungs: Sequence[Mapping[str, Any]]) -> str:
    if len(rungs) == 1:
        return f"One rung: {_rung(rungs[0])}."
    return f"{len(rungs)} rungs: " + "; then ".join(map(_rung, rungs)) + "."


def _rung(rung: Mapping[str, Any]) -> str:
    epochs = count(rung["epochs"], "epoch")
    return f"{count(rung['candidates'], 'candidate')} for {epochs}" + (" in all" if rung["candidates"] > 1 else "")


def _end(run: Mapping[str, Any]) -> str:
    took = f"It took {duration(run['total_seconds'])}"
    if run["budget_seconds"] is not None:
        took += f" of a budget of {duration(run['budget_seconds'])}"
    if run["state"] == "complete":
        return f"{took}, and every rung was trained as planned."
    reason = "its budget ended before its plan did"
    if run["fault"]:
        reason = "it was stopped" if was_stopped(run) else "a fault cut it"
    return f"{took}: {reason}, and the best so far is the result. trails.resume({run['run_id']}) goes on with it."


def best(run: Mapping[str, Any], architecture: str | None, value: float | None) -> str:
    """The winner and its metric; empty if there is none."""
    return "" if architecture is None or value is None else f"{architecture}: {metric_name(run)} {value:.5f}"
