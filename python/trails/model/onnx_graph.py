"""An ONNX graph as it is put together: nodes, and constants that are written once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trails.errors import InvalidInput


class Graph:
    """Nodes and constants, whose names are made up as they come.

    Args:
        taken: Names that others have given: none of the graph's begins as one of these.

    Raises:
        InvalidInput: The package onnx is not installed.
    """

    def __init__(self, taken: tuple[str, ...] = ()) -> None:
        try:
            import onnx.helper
        except ImportError as error:
            raise InvalidInput(
                "this format needs the package onnx", hint="Install trails[onnx] in the environment.", sqlstate="0A000"
            ) from error
        self._make = onnx.helper.make_node
        self._prefix = "/"
        while any(name.startswith(self._prefix) for name in taken):
            self._prefix += "/"
        self.nodes: list[Any] = []
        self.constants: dict[str, NDArray[Any]] = {}
        self._named: dict[tuple[Any, ...], str] = {}
        self._kept: list[NDArray[Any]] = []

    def put(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Add a node of ai.onnx; returns the name of what it computes, ``output`` if that is given."""
        output = output or f"{self._prefix}{len(self.nodes)}"
        self.nodes.append(self._make(kind, list(inputs), [output], **attributes))
        return output

    def put_ml(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """The same of ai.onnx.ml."""
        return self.put(kind, *inputs, domain="ai.onnx.ml", **attributes)

    def put_split(self, texts: str, delimiter: str) -> str:
        """Texts cut in two at the first ``delimiter``: one dimension more, of length 2. Needs ai.onnx 20."""
        parts, counts = (f"{self._prefix}{len(self.nodes)}{part}" for part in ("", " counts"))
        self.nodes.append(self._make("StringSplit", [texts], [parts, counts], delimiter=delimiter, maxsplit=1))
        return parts

    def constant(self, array: NDArray[Any]) -> str:
        """The name of an array, which is there once if several nodes share it."""
        # A small one is told by what it holds, a large one by being the same object.
        small = array.size <= 1 and array.dtype != object
        key = (array.dtype.str, array.shape, array.tobytes()) if small else (id(array),)
        if key not in self._named:
            self._named[key] = name = f"{self._prefix}constant {len(self.constants)}"
            self.constants[name] = array
            self._kept.append(array)
        return self._named[key]

    def whole(self, number: int) -> str:
        """An int64, shape ()."""
        return self.constant(np.array(number, np.int64))

    def whole_axes(self, *numbers: int) -> str:
        """int64, shape (numbers,), as nodes take shapes and axes."""
        return self.constant(np.array(numbers, np.int64))

    def double(self, number: float) -> str:
        """A float64, shape ()."""
        return self.constant(np.array(number, np.float64))

    def single(self, number: float) -> str:
        """A float32, shape ()."""
        return self.constant(np.array(number, np.float32))
