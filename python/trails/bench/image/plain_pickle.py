"""Pickles of plain data read without running anything that they name.

A pickle is a program that may call whatever it can import. This reader imports nothing: of all names it knows three,
and gives each something of its own, which makes plain values and cannot be altered.
"""

from __future__ import annotations

import pickle
from typing import Any, BinaryIO, ClassVar

import numpy as np

from trails.errors import UnusableData, shown

_KINDS = frozenset({"b1", *(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)), "f2", "f4", "f8"})


class _Kind:
    """The type of a NumPy scalar, as a pickle describes it."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __setstate__(self, state: object) -> None:
        """Its byte order, out of NumPy's description of a type that has no parts."""
        if not (isinstance(state, tuple) and len(state) == 8 and state[1] in ("<", ">", "|", "=")):
            raise _Refused("a type of NumPy that is no plain number's")
        if state[2:5] != (None, None, None) or self._name[0] in "<>|=":
            raise _Refused("a type of NumPy that has parts")
        self._name = f"{state[1]}{self._name}"

    def value(self, content: bytes) -> bool | int | float:
        """The number that some bytes are."""
        kind = np.dtype(self._name)
        if len(content) != kind.itemsize:
            raise _Refused(f"{len(content)} bytes for one number")
        number: bool | int | float = np.frombuffer(content, kind)[0].item()
        return number


class _MakeKind:
    """What is given for ``numpy.dtype``. Instances of it have no attributes that a pickle could set."""

    __slots__ = ()

    def __call__(self, *arguments: object) -> _Kind:
        name = arguments[0] if arguments else None
        if name not in _KINDS:
            raise _Refused(f"the type {shown(str(name))} of NumPy")
        return _Kind(str(name))


class _MakeScalar:
    """What is given for NumPy's ``scalar``."""

    __slots__ = ()

    def __call__(self, *arguments: object) -> bool | int | float:
        if len(arguments) == 2 and isinstance(arguments[0], _Kind) and isinstance(arguments[1], bytes):
            return arguments[0].value(arguments[1])
        raise _Refused("a NumPy scalar of another form")


_GIVEN: dict[tuple[str, str], Any] = {
    # A plain dictionary keeps its order, and has no attributes that could take the place of its methods.
    ("collections", "OrderedDict"): dict,
    ("numpy", "dtype"): _MakeKind(),
    ("numpy.core.multiarray", "scalar"): _MakeScalar(),
    ("numpy._core.multiarray", "scalar"): _MakeScalar(),
}


class _Refused(Exception):
    """A pickle asks for something that is no plain value."""


_REFUSED = [operation[0] for operation in (pickle.EXT1, pickle.EXT2, pickle.EXT4, pickle.BYTEARRAY8)]
"""Operations that plain data do without: names by number, which may be known from elsewhere, and memory that is filled
with zeros before anything is read into it."""


def _refuse(_reader: object) -> None:
    raise _Refused("a name by number, or bytes that can be altered")


# The one that is written in Python. That in C keeps what a pickle numbers in an array as long as the largest number:
# seven bytes fill any memory. Reading takes three times as long.
class _Plain(pickle._Unpickler):
    dispatch: ClassVar = pickle._Unpickler.dispatch | dict.fromkeys(_REFUSED, _refuse)

    def find_class(self, module: str, name: str) -> Any:
        """See `pickle.Unpickler.find_class`: never an import."""
        if (module, name) not in _GIVEN:
            raise _Refused(f"the name {shown(f'{module}.{name}')}")
        return _GIVEN[module, name]

    def persistent_load(self, name: Any) -> Any:
        """See `pickle.Unpickler.persistent_load`."""
        raise _Refused("something that lies outside of it")


def read_plain(stream: BinaryIO, what: str) -> Any:
    """The value of one pickle: containers, numbers, texts, None; ordered dictionaries become plain ones.

    Args:
        stream: Stands at its beginning.
        what: Of what it is, for messages.

    Raises:
        UnusableData: It is damaged, or asks for anything else. Nothing that it names was imported or run.
    """
    try:
        return _Plain(stream).load()
    except _Refused as error:
        raise UnusableData(
            f"{what} is refused: it holds more than numbers, texts and containers",
            detail=f"It asks for {error}. Nothing of it was run.",
            hint="A file of this kind can run programs. Fetch it again from where it was published.",
        ) from error
    # A damaged pickle fails with whatever its operations happen to raise.
    except Exception as error:
        raise UnusableData(f"{what} is damaged, or no pickle", detail=shown(str(error))) from error
