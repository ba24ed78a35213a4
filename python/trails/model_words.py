"""What a model's ``training`` says, in sentences: of which networks it is, and whether the architecture mattered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_LONGEST = 2_000
"""Characters of a sentence: a file that somebody made may say anything."""


def sentences(training: Mapping[str, Any]) -> list[str]:
    """Everything that there is to say, for people; nothing of a model of an earlier release, or of one that says it in
    another way: what is in a file's ``training`` no reader checks."""
    said = []
    for tell, name in ((networks, "networks"), (members, "members"), (finalists, "finalists")):
        try:
            said.append(tell(training.get(name)))
        except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError):
            continue
    return [sentence for sentence in said if 0 < len(sentence) <= _LONGEST]


def networks(facts: Any) -> str:
    """Of which networks a model is the mean; empty of one.

    Args:
        facts: As `trails.refinement.ensemble.Together.facts` has them, or None.
    """
    if not facts or len(facts) < 2:
        return ""
    reads = sum(network["weight"] for network in facts)
    named = [f"{network['architecture']} ({network['weight'] / reads:.0%})" for network in facts]
    return f"The model is the mean of {len(facts)} networks: {', '.join(named)}."


def members(facts: Any) -> str:
    """How many members a model's network has; empty of one.

    Args:
        facts: The number, or None.
    """
    return f"The network has {facts:d} members that share weights." if facts and facts > 1 else ""


def finalists(facts: Any) -> str:
    """Whether it mattered which of a rung's candidates was picked; empty if nothing was compared.

    Args:
        facts: As `trails.refinement.finalists.compare` has them, or None.
    """
    if not facts:
        return ""
    count, alike = facts["candidates"], facts["alike"]
    noise = f"(spread {facts['spread']:.4f} {facts['metric']}, one standard error {facts['standard_error']:.4f})"
    if alike == 1:
        ahead = "the other" if count == 2 else "the others"
        return f"The best of the last rung's {count} candidates is ahead of {ahead} by more than chance {noise}."
    smaller = ""
    if facts["parameters"] < facts["parameters_of_best"]:
        smaller = f": {facts['smallest']} would do, with {facts['parameters']:,} weights"
        smaller += f" instead of {facts['parameters_of_best']:,}"
    if alike == count:
        return f"The last rung's {count} candidates differ by no more than chance {noise}{smaller}."
    return f"Of the last rung's {count} candidates the best {alike} differ by no more than chance {noise}{smaller}."
