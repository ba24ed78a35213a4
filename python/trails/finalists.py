"""What a run's finalists say of whether the architecture mattered, in a sentence. Imports nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def sentence(facts: Mapping[str, Any] | None) -> str:
    """For people.

    Args:
        facts: ``finalists`` of a model's ``training``, see `trails.refinement.finalists.compare`; None where nothing
            was compared.

    Returns:
        A sentence; empty if there is nothing to say.
    """
    if not facts:
        return ""
    count, alike = facts["candidates"], facts["alike"]
    noise = f"(spread {facts['spread']:.4f} {facts['metric']}, one standard error {facts['standard_error']:.4f})"
    smaller = ""
    if facts["parameters"] < facts["parameters_of_best"]:
        smaller = f": {facts['smallest']} would do, with {facts['parameters']:,} weights"
        smaller += f" instead of {facts['parameters_of_best']:,}"
    if alike == count:
        return f"The {count} candidates of the last rung differ by no more than chance {noise}{smaller}."
    if alike == 1:
        return f"The best of {count} candidates of the last rung is ahead of the others by more than chance {noise}."
    return f"Of {count} candidates of the last rung {alike} differ by no more than chance {noise}{smaller}."
