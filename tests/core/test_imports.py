"""Who imports whom: no module leads back to itself, and a backend never loads what only training needs.

The layers and what else is agreed of packages are contracts in pyproject.toml, which ``lint-imports`` reads.
"""

from __future__ import annotations

import os
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_no_module_leads_back_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "python")
    graph = grimp.build_graph("trails", cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(imports) > 100
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as circle:
        pytest.fail(" <- ".join(circle.args[1]))


def test_a_backend_loads_nothing_that_only_training_needs() -> None:
    code = """
import sys
import numpy as np
from trails import bridge

column = lambda name, data: {"name": name, "kind": "int64", "data": data, "nulls": None, "values": None}
numbers = np.random.default_rng(0).integers(0, 9, (3, 200))
features = [column("a", numbers[0]), column("b", numbers[1])]
arguments = {"features": features, "target": column("y", numbers[2] % 2), "aside": [column("w", numbers[2] + 1)],
             "split": None, "group_by": "a", "time_by": None, "weight": "w", "task": None, "metric": "log_loss",
             "options": '{"dropout": 0.1}', "seed": 1, "spellings": {}}
rows = bridge.training_rows(arguments)
request = {"space": "mlp2x10", "tfmem": "jacflow+snip", "n": 40, "k": 3, "batch_size": 8, "seed": 1, "sampler": None}
bridge.check_filtering(request, True)
bridge.check_refinement({"refinement": "sh", "k": None, "u": None, "options": None, "device": "cuda", "task": None})
assert len(rows.shortlist(request, None, 1, lambda: None).architectures) >= 3
assert len(rows.rank(request, 1, lambda: None).architectures) == 3
heavy = ("torch", "ray", "psycopg2", "sklearn", "pandas", "pyarrow", "scipy", "onnx")
print([name for name in heavy if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT / "python")},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
