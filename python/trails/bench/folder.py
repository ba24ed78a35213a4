"""Where the tables of recorded benchmarks lie."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "TRAILS_BENCH"


def tables() -> Path:
    """The folder that holds one folder a benchmark.

    ``$TRAILS_BENCH``; else ``bench`` in the current folder, where there is one; else that of the checkout which this
    package is imported from. The builder writes there too unless it is told another folder.
    """
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    here = Path("bench")
    if here.is_dir():
        return here
    checkout = Path(__file__).resolve().parents[3]
    return checkout / "bench" if (checkout / "pyproject.toml").exists() else here
