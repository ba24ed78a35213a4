"""The command line of a soak; see the package."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tools.server import Server, ServerError, default_pg_config, major_version, temporary_server
from tools.soak import actions, load, verdict, watch

SAY_EVERY = 60.0
MOST_SHOWN = 50
_SERVER = {"trails.max_runs": "1", "log_line_prefix": "%m [%p] %e "}


def main(arguments: list[str] | None = None) -> int:
    """Runs it; returns 1 if anything is wrong, else 0."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.soak",
        description="Mixed load on a throw-away server: is it as well afterwards as before?",
    )
    parser.add_argument("--minutes", type=float, default=60.0, help="of load; preparing and looking come on top")
    parser.add_argument("--sessions", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0, help="decides what each session asks for, and in which order")
    parser.add_argument("--allowed-growth", type=float, default=32.0, metavar="MB", help="of a session, once warm")
    parser.add_argument("--out", type=Path, help="where the result goes as JSON, with every sample")
    options = parser.parse_args(arguments)
    if options.minutes <= 0 or options.sessions < 1:
        parser.error("--minutes and --sessions must be positive")
    try:
        found = soak(options.minutes * 60, options.sessions, options.seed, options.allowed_growth)
    except ServerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(found, indent=1) + "\n")
    print(summary(found))
    return 1 if found["faults"] else 0


def soak(seconds: float, sessions: int, seed: int, allowed_mb: float) -> dict[str, Any]:
    """Loads a server of its own for so many seconds; what came of it, as it goes into the JSON file."""
    tally = load.Tally()
    with temporary_server(settings=_SERVER) as server:
        say("preparing")
        load.prepare(server)
        crew = [load.Session(server, number, seed, tally) for number in range(sessions)]
        for session in crew:
            session.warm_up()
        began = time.monotonic()
        with watch.Watch(server, crew, min(5.0, seconds / 40)) as seen:
            for session in crew:
                session.start(began + seconds)
            _wait(server, crew, began + seconds, tally)
            for session in crew:
                session.close()
        say("looking at what is left")
        load.wind_down(server, tally)
        left = seen.left()
        found = verdict.faults(tally, seen.samples, seen.failed_runs, left, seen.log(), allowed_mb)
        return {
            "seconds": round(time.monotonic() - began, 1),
            "sessions": sessions,
            "seed": seed,
            "server": major_version(default_pg_config()),
            "faults": [*found, *seen.wrong],
            "done": dict(tally.done),
            "provoked": dict(tally.provoked),
            "for_instance": tally.instances,
            "killed": tally.told["killed"],
            "background": dict(Counter(seen.ended_runs.values())),
            "failed_runs": dict(Counter(code for code, _ in seen.failed_runs.values())),
            "growth": verdict.growths(seen.samples),
            "left": left,
            "samples": [asdict(sample) for sample in seen.samples],
        }


def _wait(server: Server, crew: Sequence[load.Session], until: float, tally: load.Tally) -> None:
    """Until the sessions are done with what they were at when the time was up; runs are cancelled then."""
    said = time.monotonic()
    for session in crew:
        while session.thread.is_alive() and time.monotonic() < until + load.STATEMENT_SECONDS:
            session.thread.join(1.0)
            if time.monotonic() > until:
                load.wind_down(server, tally)
            if time.monotonic() - said > SAY_EVERY:
                said = time.monotonic()
                rest = max(0.0, until - said) / 60
                say(f"{tally.done.total()} done, {tally.provoked.total()} refused as provoked, "
                    f"{len(tally.wrong)} wrong; {rest:.0f} min remain")  # fmt: skip
        if session.thread.is_alive():
            tally.blame(f"session {session.number} hangs in: {session.doing}")


def summary(found: dict[str, Any]) -> str:
    """For people: what was done, what was refused, how memory went, and what is wrong."""
    lines = [f"{found['sessions']} sessions, {found['seconds']:.0f} s, seed {found['seed']}"]
    for name in actions.ACTIONS:
        refused = {k.split(": ")[1]: v for k, v in found["provoked"].items() if k.split(": ")[0] == name}
        told = ", ".join(f"{code} {count}" for code, count in sorted(refused.items()))
        lines.append(f"  {name:<18}{found['done'].get(name, 0):>7}   {told}")
    lines.append(f"refinement processes killed: {found['killed']}")
    background = ", ".join(f"{state} {count}" for state, count in sorted(found["background"].items()))
    codes = ", ".join(f"{code} {count}" for code, count in sorted(found["failed_runs"].items()))
    lines.append(f"seen to end in the background: {background or 'none'}" + (f" ({codes})" if codes else ""))
    for name, growth in found["growth"].items():
        own, files = f"{growth['uss']:+7.1f} MB of its own", f"{growth['descriptors']:+.0f} descriptors"
        lines.append(f"  {name:<12} grew by {own}, {files}")
    wrong = Counter(found["faults"]).most_common(MOST_SHOWN)
    lines += [f"wrong, {count} times: {fault}" for fault, count in wrong] or ["nothing is wrong"]
    return "\n".join(lines)


def say(what: str) -> None:
    print(f"[soak] {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
