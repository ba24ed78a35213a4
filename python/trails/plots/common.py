"""What figures of a run share: colours of candidates, and what is said in words."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

# Okabe and Ito's colours, told apart by colour-blind readers too: one per rung, and one for the winner.
RUNGS = ("#8c8c8c", "#56B4E9", "#0072B2", "#009E73", "#CC79A7", "#E69F00")
WINNER = "#D55E00"

_METRICS: Mapping[str, str] = MappingProxyType({"auc": "AUC", "r2": "R²"})


def colour_of(rung: int, winner: bool) -> str:
    """Of a candidate whose last rung is ``rung``, counted from 0."""
    return WINNER if winner else RUNGS[min(rung, len(RUNGS) - 1)]


def metric_name(facts: Mapping[str, Any]) -> str:
    """How people write a run's ``metric``; AUC where the facts do not name it."""
    metric = str(facts.get("metric") or "auc")
    return _METRICS.get(metric, metric.replace("_", " "))


def title_of(facts: Mapping[str, Any]) -> str:
    """A run in one line: ``source``, ``target``, ``budget`` and ``seconds`` (both in seconds), ``n``, ``k``, ``u``;
    what is missing is left out."""
    parts = [str(facts["source"]) + (f", target {facts['target']}" if facts.get("target") else "")]
    if facts.get("budget") is not None:
        parts.append(f"budget {float(facts['budget']):g} s")
    if facts.get("seconds") is not None:
        parts.append(f"took {float(facts['seconds']):.1f} s")
    parts += [
        f"{label} = {int(facts[key]):,}"
        for key, label in (("n", "N"), ("k", "K"), ("u", "U"))
        if facts.get(key) is not None
    ]
    return "   ·   ".join(parts)
