"""Recorded benchmarks: learning curves of architectures, trained once and looked up ever after.

from trails import bench

benchmark = bench.open("frappe")
benchmark.query("64-64-64-64", epoch=14, seed=1, split="valid")
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trails.bench.table import Benchmark


def open(name: str, folder: Path | str | None = None) -> Benchmark:
    """The recorded benchmark called ``name``.

    Args:
        name: Of its dataset.
        folder: That holds a folder for each benchmark; None for where `trails.bench.folder.tables` looks.

    Raises:
        InvalidInput: It is not there; the hint says how to come by it.
        UnusableData: A file is damaged or of another version.
    """
    # Whoever builds a benchmark needs no tables, and the command line answers --help without pyarrow.
    from trails.bench.folder import tables
    from trails.bench.table import Benchmark

    return Benchmark((tables() if folder is None else Path(folder)) / name)


__all__ = ["open"]
