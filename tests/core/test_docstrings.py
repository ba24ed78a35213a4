"""Maps in docstrings name what is there."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path


def test_the_map_of_refinement_names_its_modules_and_no_others() -> None:
    spec = importlib.util.find_spec("trails.refinement")
    assert spec is not None and spec.origin is not None
    file = Path(spec.origin)
    there = {path.stem for path in file.parent.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert set(re.findall(r"`([a-z_]+)`", file.read_text())) == there - {"__init__"}
