"""Recorded benchmarks: learning curves of architectures, trained once and looked up ever after.

from trails import bench

benchmark = bench.open("frappe")
benchmark.query("64-64-64-64", epoch=14, seed=1, split="valid")
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args, overload

if TYPE_CHECKING:
    from trails.bench.image.benchmark import ImageBenchmark
    from trails.bench.table import Benchmark

Pictures: TypeAlias = Literal["nasbench101", "nasbench201"]
"""Benchmarks of cells for pictures, whose trainings others recorded."""


@overload
def open(name: Pictures, folder: Path | str | None = None) -> ImageBenchmark: ...  # type: ignore[overload-overlap]
@overload
def open(name: str, folder: Path | str | None = None) -> Benchmark: ...
def open(name: str, folder: Path | str | None = None) -> Benchmark | ImageBenchmark:
    """The recorded benchmark called ``name``.

    Args:
        name: Of its dataset; ``nasbench101`` or ``nasbench201`` for cells of pictures.
        folder: That holds a folder for each benchmark; None for where `trails.bench.folder.tables` looks.

    Raises:
        InvalidInput: It is not there; the hint says how to come by it.
        UnusableData: A file is damaged or of another version.
    """
    # Whoever builds a benchmark needs no tables, and the command line answers --help without pyarrow.
    from trails.bench.folder import tables
    from trails.bench.image.benchmark import ImageBenchmark
    from trails.bench.table import Benchmark

    found = (tables() if folder is None else Path(folder)) / name
    return ImageBenchmark(found) if name in get_args(Pictures) else Benchmark(found)


__all__ = ["open"]
