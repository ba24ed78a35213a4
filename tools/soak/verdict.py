"""Whether a soak found anything wrong: every error that nobody provoked, every growth, everything that is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tools.soak.load import Tally
from tools.soak.watch import Held, Sample

DESCRIPTORS = 2
"""What a session needs between its statements is open long before the half of a soak."""

POSTMASTER_MB = 8.0


def quarter(values: Sequence[float], number: int) -> float:
    """The least of one quarter of a series, from 0: what a process holds between its statements.

    The series has four values at least.
    """
    size = len(values) // 4
    return min(values[number * size : (number + 1) * size if number < 3 else None])


def growths(samples: Sequence[Sample]) -> dict[str, dict[str, float]]:
    """How much more each process holds at least in the last quarter than in the second: until then, caches fill.

    Of the postmaster and of every session that stays, `uss` and `pss` in MB and `descriptors`. Processes that were
    seen fewer than eight times are left out.
    """
    series: dict[str, list[Held]] = {}
    for sample in samples:
        if sample.postmaster:
            series.setdefault("postmaster", []).append(sample.postmaster)
        for number, found in sample.sessions.items():
            series.setdefault(f"session {number}", []).append(found)
    return {
        name: {
            what: round(quarter(values, 3) - quarter(values, 1), 2)
            for what in ("uss", "pss", "descriptors")
            if (values := [float(getattr(one, what)) for one in held])
        }
        for name, held in series.items()
        if len(held) >= 8
    }


def faults(
    tally: Tally,
    samples: Sequence[Sample],
    failed_runs: Mapping[int, tuple[str, str]],
    left: Mapping[str, Any],
    log: Sequence[str],
    allowed_mb: float,
) -> list[str]:
    """What is wrong, in sentences; none if nothing is.

    Args:
        failed_runs: SQLSTATE and message of runs in the background, by their number.
        left: What there still is after the load.
        log: Lines of the server's log that tell of a crash.
        allowed_mb: By how many MB a session may grow.
    """
    found = list(tally.wrong)
    found += [f"the server's log: {line}" for line in log]
    for run, (code, message) in sorted(failed_runs.items()):
        killed = code == "38000" and "killed (signal 9)" in message
        if not killed and code not in ("53400", "57014"):
            found.append(f"run {run} in the background: {code} {message}")
    killed_runs = sum("38000" in what for what in tally.provoked.elements())
    killed_runs += sum(code == "38000" for code, _ in failed_runs.values())
    if killed_runs > tally.told["killed"]:
        found.append(f"{killed_runs} runs lost their process, and {tally.told['killed']} processes were killed")
    grown = growths(samples)
    if not grown:
        found.append(f"too few samples ({len(samples)}) were taken to say whether memory grows: let it run longer")
    for name, growth in grown.items():
        allowed = POSTMASTER_MB if name == "postmaster" else allowed_mb
        if growth["uss"] > allowed:
            found.append(f"{name} has grown by {growth['uss']:.1f} MB from its second quarter to its last")
        if growth["descriptors"] > DESCRIPTORS:
            found.append(
                f"{name} has {growth['descriptors']:.0f} descriptors more in its last quarter than in its second"
            )
    found += [f"left behind: {what}: {value}" for what, value in left.items()]
    return found
