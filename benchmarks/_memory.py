"""Peak of this process's resident memory, begun anew where a measurement begins."""

from __future__ import annotations

from pathlib import Path


def forget_peak() -> None:
    """Begin anew with the peak: importing libraries has one of its own."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_megabytes() -> float:
    """The peak since then, in millions of bytes."""
    return _megabytes("VmHWM")


def resident_megabytes() -> float:
    """What is resident now, in millions of bytes."""
    return _megabytes("VmRSS")


def _megabytes(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line for line in lines if line.startswith(name)).split()[1]) * 1024 / 1e6
