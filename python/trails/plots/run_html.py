"""A run as HTML for a notebook: learning curves and leaderboard, without scripts or anything from elsewhere."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from trails.plots.common import colour_of, metric_name, title_of
from trails.refinement.leaderboard import in_order
from trails.table.judged import is_loss

_SHOWN_ROWS = 10
_CURVES = 40
"""Curves that are drawn at most: those of the best candidates."""

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 460, 220, 52, 30, 10, 12
"""Of the figure and its margins, in pixels."""

_STYLE = """\
.trails-run{font:13px/1.5 system-ui,sans-serif;color:inherit;max-width:960px}
.trails-run header{font-weight:600;margin-bottom:.4em}
.trails-run .parts{display:flex;flex-wrap:wrap;gap:1.5em;align-items:flex-start}
.trails-run svg{max-width:100%;height:auto;overflow:visible}
.trails-run svg text{fill:currentColor;font-size:10px;opacity:.8}
.trails-run svg .axis{stroke:currentColor;opacity:.25}
.trails-run table{border-collapse:collapse;font-variant-numeric:tabular-nums}
.trails-run th,.trails-run td{padding:.15em .7em;text-align:right;background:none}
.trails-run tr{border-bottom:1px solid rgba(127,127,127,.25)}
.trails-run th:nth-child(2),.trails-run td:nth-child(2){text-align:left}
.trails-run tr.winner td{font-weight:600}
.trails-run .note{opacity:.75}
"""


def run_html(run: Mapping[str, Any]) -> str:
    """A fragment of HTML that follows the colours of the page it is in.

    Args:
        run: As of `trails.plots.leaderboard.draw`; ``run["run"]`` may name ``metric``, ``state`` and ``fault``, and
            have sentences, ``said``.
            Candidates that were not trained are left out.
    """
    facts = run["run"]
    trained = [c for c in run["candidates"] if c.get("validation_metric") is not None]
    trained = in_order(trained, is_loss(str(facts.get("metric"))))
    metric = metric_name(facts)
    parts = [_curves(trained, run["trials"], metric), _table(trained, metric)] if trained else []
    notes = [str(facts[name]) for name in ("state", "fault") if facts.get(name) not in (None, "complete")]
    said = ["; ".join(notes), *facts.get("said", ())]
    told = "".join(f'<div class="note">{escape(line)}</div>' for line in said if line)
    return (
        f'<div class="trails-run"><style>{_STYLE}</style><header>{escape(title_of(facts))}</header>{told}'
        f'<div class="parts">{"".join(parts) or "nothing was trained"}</div></div>'
    )


def _table(trained: Sequence[Mapping[str, Any]], metric: str) -> str:
    heads = ("", "architecture", f"validation {metric}", "epochs", "parameters", "seconds")
    rows = [
        f"<tr{' class=winner' if place == 1 else ''}>{_cells(place, candidate)}</tr>"
        for place, candidate in enumerate(trained[:_SHOWN_ROWS], 1)
    ]
    more = len(trained) - len(rows)
    told = f'<div class="note">and {more} more</div>' if more > 0 else ""
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    return f"<div><table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>{told}</div>"


def _cells(place: int, candidate: Mapping[str, Any]) -> str:
    parameters, seconds = candidate.get("parameters"), candidate.get("seconds")
    values = (
        str(place),
        str(candidate["architecture"]),
        f"{float(candidate['validation_metric']):.5f}",
        str(candidate["epochs"]),
        "" if parameters is None else f"{int(parameters):,}",
        "" if seconds is None else f"{float(seconds):.1f}",
    )
    return "".join(f"<td>{escape(value)}</td>" for value in values)


def _curves(trained: Sequence[Mapping[str, Any]], trials: Iterable[Mapping[str, Any]], metric: str) -> str:
    kept = [str(candidate["architecture"]) for candidate in trained[:_CURVES]]
    curves: dict[str, list[tuple[int, float]]] = {name: [] for name in kept}
    rungs = dict.fromkeys(kept, 0)
    for trial in trials:
        name, value = str(trial["architecture"]), trial["validation_metric"]
        if name in curves and value is not None and math.isfinite(value):
            curves[name].append((int(trial["epoch"]), float(value)))
            rungs[name] = max(rungs[name], int(trial["rung"]))
    points = [point for curve in curves.values() for point in curve]
    if not points:
        return ""
    scale = _Scale(points)
    # The winner last, so that it lies on top.
    lines = [_line(name, sorted(curves[name]), rungs[name], name == kept[0], scale) for name in reversed(kept)]
    words = f"validation {metric} by epochs trained; the winner is {kept[0]}"
    return (
        f'<svg role="img" aria-label="{escape(words)}" width="{_WIDTH}" height="{_HEIGHT}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}"><title>{escape(words)}</title>{scale.axes(metric)}{"".join(lines)}</svg>'
    )


def _line(name: str, curve: Sequence[tuple[int, float]], rung: int, winner: bool, scale: _Scale) -> str:
    if not curve:
        return ""
    places = [(scale.x(epoch), scale.y(value)) for epoch, value in curve]
    colour, width = colour_of(rung, winner), 2.4 if winner else 1.1
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{width + 1:.1f}"><title>{escape(name)}, epoch {epoch}: '
        f"{value:.5f}</title></circle>"
        for (x, y), (epoch, value) in zip(places, curve, strict=True)
    )
    return (
        f'<g fill="{colour}"><polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>{dots}</g>'
    )


class _Scale:
    """From epochs and metrics to pixels.

    Args:
        points: At least one pair of both.
    """

    def __init__(self, points: Sequence[tuple[int, float]]) -> None:
        epochs, values = zip(*points, strict=True)
        self._last = int(max(epochs))
        low, high = float(min(values)), float(max(values))
        margin = 0.06 * (high - low) or 0.01
        self._low, self._high = low - margin, high + margin

    def x(self, epoch: float) -> float:
        """Where an epoch is."""
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (epoch - 0.5) / (self._last + 0.1)

    def y(self, value: float) -> float:
        """Where a metric is."""
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (self._high - value) / (self._high - self._low)

    def axes(self, metric: str) -> str:
        """Grid and labels."""
        values = [self._low + (self._high - self._low) * part for part in (0.1, 0.5, 0.9)]
        across = [
            f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{_LEFT - 6}" y="{y + 3:.1f}" text-anchor="end">{value:.4g}</text>'
            for value, y in zip(values, map(self.y, values), strict=True)
        ]
        step = max(1, math.ceil(self._last / 8))
        below = [
            f'<text x="{self.x(epoch):.1f}" y="{_HEIGHT - _BOTTOM + 14}" text-anchor="middle">{epoch}</text>'
            for epoch in range(1, self._last + 1, step)
        ]
        middle = 0.5 * (_LEFT + _WIDTH - _RIGHT)
        names = (
            f'<text x="{middle:.0f}" y="{_HEIGHT - 4}" text-anchor="middle">epochs trained</text>'
            f'<text x="{_LEFT}" y="{_TOP - 1}">validation {escape(metric)}</text>'
        )
        return "".join([*across, *below, names])
