"""What fields read of a column that an ONNX graph takes: its number, its category, the parts of its date."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from trails.model.onnx_graph import Graph
from trails.model.onnx_inputs import BOOL, DOUBLE, EXACT, FLOAT, INT64, NULL_TEXT, Input

_DAYS = 10_957
"""From 1970-01-01, which the inputs count from, to 2000-01-01, which the model does."""

_MICROSECONDS_A_DAY = 86_400_000_000
_MICROSECONDS_AN_HOUR = 3_600_000_000


class InputColumn:
    """What fields read of an input; computed once, where it is needed."""

    def __init__(self, graph: Graph, given: Input) -> None:
        self._graph, self._given = graph, given
        self.text = given.name

    @cached_property
    def null(self) -> str:
        """bool (rows, 1): whether it is NULL."""
        graph, given = self._graph, self._given
        if given.kind == "idvalue":
            # A value that single precision cannot hold counts as NULL, as everywhere.
            odd = graph.put("Or", graph.put("IsNaN", self.parsed), graph.put("IsInf", self.parsed))
            return graph.put("Or", self._null_text, odd)
        if given.type == "string":
            return self._null_text
        if given.type == "int64":
            assert isinstance(given.null, int)
            return graph.put("Equal", given.name, graph.whole(given.null))
        return graph.put("IsNaN", given.name)

    @cached_property
    def _null_text(self) -> str:
        found = self._graph.put_ml(
            "LabelEncoder", self.text, keys_strings=[NULL_TEXT.encode()], values_int64s=[1], default_int64=0
        )
        return self._graph.put("Cast", found, to=BOOL)

    @cached_property
    def _halves(self) -> str:
        """Id and value of ``id:value`` as texts, (rows + 1, 1, 2): one row more, so that there is one to be cut."""
        graph = self._graph
        plain = graph.constant(np.array([["0:1"]], object))
        there = graph.put("Where", self._null_text, plain, self.text)
        return graph.put_split(graph.put("Concat", plain, there, axis=0), ":")

    def _half(self, place: int, to: int) -> str:
        graph = self._graph
        half = graph.put("Cast", graph.put("Gather", self._halves, graph.whole(place), axis=2), to=to)
        ends = graph.whole_axes(1), graph.whole_axes(2**62), graph.whole_axes(0)
        return graph.put("Slice", half, *ends)

    @cached_property
    def parsed(self) -> str:
        """float32 (rows, 1): the value of ``id:value``."""
        return self._graph.put("Cast", self._half(1, DOUBLE), to=FLOAT)

    @cached_property
    def _whole(self) -> str:
        """int64 (rows, 1) as the model counts, 0 where it is NULL."""
        graph, given = self._graph, self._given
        there = graph.put("Where", self.null, graph.whole(0), given.name)
        moved = {"date": _DAYS, "timestamp": _DAYS * _MICROSECONDS_A_DAY}.get(given.kind)
        return there if moved is None else graph.put("Sub", there, graph.whole(moved))

    @cached_property
    def number(self) -> str:
        """float64 (rows, 1)."""
        if self._given.type == "double":
            return self._given.name
        return self._graph.put("Cast", self._whole, to=DOUBLE)

    @cached_property
    def _of_double(self) -> tuple[str, str]:
        graph, name = self._graph, self._given.name
        near = graph.put("LessOrEqual", graph.put("Abs", name), graph.double(EXACT))
        is_whole = graph.put("And", near, graph.put("Equal", graph.put("Floor", name), name))
        return graph.put("Cast", graph.put("Where", is_whole, name, graph.double(0.0)), to=INT64), is_whole

    def key(self, part: str) -> tuple[str, str | None]:
        """int64 (rows, 1), what categories are told apart by; and bool (rows, 1), where there is one, or None."""
        given = self._given
        if given.kind == "idvalue":
            return self._half(0, INT64), None
        if given.type == "double":
            return self._of_double
        if part == "value":
            return self._whole, None
        return {"hour": lambda: self._hour, "weekday": lambda: self._weekday, "month": lambda: self._month}[
            part
        ](), None

    @cached_property
    def _days(self) -> str:
        if self._given.kind == "date":
            return self._whole
        graph = self._graph
        day = graph.whole(_MICROSECONDS_A_DAY)
        return graph.put("Div", graph.put("Sub", self._whole, graph.put("Mod", self._whole, day)), day)

    @property
    def _hour(self) -> str:
        graph = self._graph
        of_day = graph.put("Mod", self._whole, graph.whole(_MICROSECONDS_A_DAY))
        return graph.put("Div", of_day, graph.whole(_MICROSECONDS_AN_HOUR))

    @property
    def _weekday(self) -> str:
        """1 (Monday) to 7; 2000-01-01 was a Saturday."""
        graph = self._graph
        of_week = graph.put("Mod", graph.put("Add", self._days, graph.whole(5)), graph.whole(7))
        return graph.put("Add", of_week, graph.whole(1))

    @property
    def _month(self) -> str:
        """1 to 12, of the Gregorian calendar; years begin in March, so that the leap day is at their end."""
        graph = self._graph

        def whole(kind: str, of: str, by: int) -> str:
            return graph.put(kind, of, graph.whole(by))

        day = whole("Mod", whole("Add", self._days, 730_425), 146_097)
        leaps = graph.put(
            "Sub", whole("Div", day, 36_524), graph.put("Add", whole("Div", day, 1_460), whole("Div", day, 146_096))
        )
        year = whole("Div", graph.put("Add", day, leaps), 365)
        before = graph.put(
            "Sub", graph.put("Add", whole("Mul", year, 365), whole("Div", year, 4)), whole("Div", year, 100)
        )
        of_year = graph.put("Sub", day, before)
        from_march = whole("Div", whole("Add", whole("Mul", of_year, 5), 2), 153)
        return whole("Add", whole("Mod", whole("Add", from_march, 2), 12), 1)
