"""Calls one function on a few cores, with the thread counts that harness.run_pinned sets."""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path


def main() -> None:
    """Arguments: how many cores, ``module:function``, its arguments as JSON, the file for its result."""
    cores, function, arguments, output = sys.argv[1:]
    # The last ones: the first core serves most interrupts.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-int(cores) :])
    module, _, name = function.partition(":")
    result = getattr(importlib.import_module(module), name)(**json.loads(arguments))
    Path(output).write_text(json.dumps(result))


def describe() -> dict[str, object]:
    """The cores this process may use and its BLAS thread count, for a look at what pinning did."""
    return {"cores": sorted(os.sched_getaffinity(0)), "threads": os.environ.get("OPENBLAS_NUM_THREADS")}


if __name__ == "__main__":
    main()
