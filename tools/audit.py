"""``make audit``: what Trails depends on, listed and looked at.

Writes docs/licences.md and dist/trails.cdx.json (a bill of materials), refuses licences that are not allowed, and has
cargo-deny and pip-audit look for known weaknesses where they are installed and reach their databases. What could not be
looked at is said. Exit status: 0; 1 where something was found.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tools.dependencies import CRATE, ROOT, crates, packages
from tools.licences import PAGE, page, refused
from tools.package import committed
from tools.sbom import bill

BILL = ROOT / "dist" / "trails.cdx.json"

_LONGEST = 600
"""Seconds that an outside tool may take."""


def main() -> int:
    """Do all of it; the exit status."""
    parser = argparse.ArgumentParser(description="Lists what Trails depends on, and looks for what must not be there.")
    parser.add_argument("--offline", action="store_true", help="ask no database of known weaknesses")
    offline = parser.parse_args().offline
    try:
        of_rust, of_python = crates(), packages()
    except RuntimeError as error:
        print(
            f"audit: {error}: what is listed is the environment that make setup makes of requirements.lock, with "
            "PyTorch's ordinary build",
            file=sys.stderr,
        )
        return 1
    PAGE.write_text(page(of_rust, of_python))
    BILL.parent.mkdir(exist_ok=True)
    BILL.write_text(bill(of_rust, of_python, int(committed())))
    print(f"{len(of_rust)} crates and {len(of_python)} packages: {PAGE.relative_to(ROOT)}, {BILL.relative_to(ROOT)}")
    found = [f"{of.reference} is under {of.licence}" for of in refused([*of_rust, *of_python])]
    found += [*cargo_deny(offline), *pip_audit(offline)]
    for line in found:
        print(f"audit: {line}", file=sys.stderr)
    return 1 if found else 0


def cargo_deny(offline: bool) -> Iterator[str]:
    """What cargo-deny finds: licences, sources and bans; weaknesses unless ``offline``."""
    if shutil.which("cargo-deny") is None:
        print("left out: cargo-deny is not installed (cargo install --locked cargo-deny)")
        return
    deny = ["cargo", "deny", f"--manifest-path={CRATE}", "--locked"]
    config = f"--config={ROOT / 'deny.toml'}"
    done = _run([*deny, "--offline", "check", config, "licenses", "bans", "sources"])
    if done.returncode:
        yield f"cargo-deny finds something in licences, bans or sources:\n{_end(done)}"
    if offline:
        print("left out: known weaknesses of crates (--offline)")
        return
    fetched = _run([*deny, "fetch", config, "db"])
    if fetched.returncode:
        print(f"left out: known weaknesses of crates, whose database cannot be reached: {_end(fetched, 1)}")
        return
    done = _run([*deny, "check", config, "--disable-fetch", "advisories"])
    if done.returncode:
        yield f"cargo-deny knows weaknesses:\n{_end(done)}"


def pip_audit(offline: bool) -> Iterator[str]:
    """What pip-audit finds: known weaknesses of what requirements.lock holds."""
    if offline:
        print("left out: known weaknesses of Python's packages (--offline)")
        return
    if shutil.which("pip-audit") is None:
        print("left out: pip-audit is not installed (python -m pip install pip-audit, in an environment of its own)")
        return
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder, "answer.json")
        asked = [f"--requirement={ROOT / 'requirements.lock'}", "--no-deps", "--disable-pip", "--progress-spinner=off"]
        done = _run(["pip-audit", *asked, "--format=json", f"--output={answer}"])
        try:
            told = json.loads(answer.read_text())["dependencies"]
        except (OSError, ValueError, KeyError, TypeError):
            # It ends with 1 whether it found something or could not ask; what it found is in its answer.
            print(f"left out: known weaknesses of Python's packages, whose database gives no answer: {_end(done, 1)}")
            return
    for package in told:
        for known in package.get("vulns", []):
            mended = ", ".join(known.get("fix_versions", [])) or "no version yet"
            yield f"{package['name']}@{package['version']}: {known['id']}, mended in {mended}"


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=_LONGEST)
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 127, "", str(error))


def _end(done: subprocess.CompletedProcess[str], lines: int = 40) -> str:
    said = (done.stdout + done.stderr).strip().splitlines()
    return "\n".join(said[-lines:]) or f"exit status {done.returncode}"


if __name__ == "__main__":
    sys.exit(main())
