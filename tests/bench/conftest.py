"""A small dataset in the published form, and a protocol for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trails.bench.protocol import PROTOCOLS, Protocol


@pytest.fixture
def protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Protocol:
    """Of a dataset called ``small``: three fields of which two decide the label."""
    folder = tmp_path / "data" / "small"
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for split, rows in (("train", 600), ("valid", 200), ("test", 200)):
        ids = generator.integers(0, 6, (rows, 3))
        labels = (ids[:, 0] + ids[:, 1] + generator.integers(0, 3, rows) > 6).astype(int)
        lines = [
            f"{label} {' '.join(f'{6 * field + one}:1' for field, one in enumerate(row))}"
            for label, row in zip(labels, ids, strict=True)
        ]
        (folder / f"{split}.libsvm").write_text("\n".join(lines) + "\n")
    monkeypatch.setenv("TRAILS_DATA", str(tmp_path / "data"))
    return Protocol("small", "mlp2x10", 3, {**PROTOCOLS["frappe"].options, "batch": 16, "learning_rate": 0.01})
