"""A run to look at: in a notebook, or drawn to a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trails.plots.common import metric_name, title_of
from trails.refinement.leaderboard import in_order
from trails.table.judged import is_loss


@dataclass(frozen=True, repr=False)
class Run:
    """A finished selection; the last line of a notebook's cell shows it with its curves and leaderboard.

    Args:
        facts: A row of ``trails.runs``, or what is known of it: ``source``, ``target``, ``budget`` and ``seconds`` in
            seconds, ``metric``, ``tfmem``, ``n``, ``k``, ``u``, ``state``, ``fault``.
        candidates: Rows of ``trails.candidates``.
        trials: Rows of ``trails.trials``: an epoch each.

    Example:
        >>> run = Run.read(psycopg2.connect("dbname=shop"))
        >>> run.draw("newest")
    """

    facts: Mapping[str, Any]
    candidates: Sequence[Mapping[str, Any]]
    trials: Sequence[Mapping[str, Any]]

    @classmethod
    def read(cls, connection: Any, run_id: int | None = None) -> Run:
        """A run of a database.

        Args:
            connection: Of psycopg2; its role sees its own runs.
            run_id: None for the newest one.

        Raises:
            InvalidInput: There is no such run.
            DatabaseError: What the server answered.
        """
        from trails.service.runs import read_run

        parts = read_run(connection, run_id)
        return cls(parts["run"], parts["candidates"], parts["trials"])

    @property
    def leaderboard(self) -> list[Mapping[str, Any]]:
        """Candidates that were trained, best validation metric first."""
        trained = [c for c in self.candidates if c.get("validation_metric") is not None]
        return in_order(trained, is_loss(str(self.facts.get("metric"))))

    def draw(self, path_stem: str | Path) -> None:
        """Write ``path_stem.svg`` and ``path_stem.png``: learning curves, and what scores said beforehand.

        Raises:
            ValueError: No candidate was trained.
        """
        from trails.plots.leaderboard import draw

        draw(self._parts(), path_stem)

    def _parts(self) -> dict[str, Any]:
        return {"run": self.facts, "candidates": self.candidates, "trials": self.trials}

    def __repr__(self) -> str:
        best = self.leaderboard[:1]
        metric = metric_name(self.facts)
        told = [f"{row['architecture']}: {metric} {row['validation_metric']:.5f}" for row in best]
        return "   ·   ".join([title_of(self.facts), *told])

    def _repr_html_(self) -> str:
        from trails.plots.run_html import run_html

        return run_html(self._parts())
