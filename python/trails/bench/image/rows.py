"""Rows of a recorded benchmark's tables, as `trails.bench.image.store` keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

Rows: TypeAlias = list[Mapping[str, Any]]


def architecture_row(index: int, published: str, text: str, parameters: int, flops: int) -> Mapping[str, Any]:
    """A cell, by its index in the space and by what the published files call it, with counts for ten classes."""
    return {"index": index, "published": published, "architecture": text, "parameters": parameters, "flops": flops}


def accuracy_row(
    index: int, dataset: str, epochs: int, split: str, runs: str, accuracy: float | str, seconds: float | None = None
) -> Mapping[str, Any]:
    """An accuracy in percent at the end of a training, and that training's seconds."""
    return {
        "index": index,
        "dataset": dataset,
        "epochs": epochs,
        "split": split,
        "runs": runs,
        "accuracy": float(accuracy),
        "seconds": seconds,
    }


def score_row(
    row: int, index: int, dataset: str, tfmem: str, score: str, seconds: float | None = None
) -> Mapping[str, Any]:
    """A score that others published; counts are published in millions."""
    value = number_of(score)
    if value is not None and tfmem in ("params", "flops"):
        value *= 1e6
    return {"row": row, "index": index, "dataset": dataset, "tfmem": tfmem, "score": value, "seconds": seconds}


def number_of(text: str) -> float | None:
    """A number that may be missing."""
    return float(text) if text else None
