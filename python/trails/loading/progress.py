"""Progress of a load on standard error: a bar in a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any, Protocol

LINE_SECONDS = 2.0
"""Between two lines about the same table."""


class Progress(Protocol):
    """Told how a table fills. Bytes are those of the file as it lies on disk."""

    def start(self, table: str, total_bytes: int) -> None: ...

    def advance(self, rows: int, consumed_bytes: int) -> None:
        """``rows`` and ``consumed_bytes`` so far."""

    def finish(self, rows: int, seconds: float) -> None: ...

    def note(self, text: str) -> None: ...


class Silent:
    """Says nothing: for callers that show progress in their own way."""

    def start(self, table: str, total_bytes: int) -> None: ...

    def advance(self, rows: int, consumed_bytes: int) -> None: ...

    def finish(self, rows: int, seconds: float) -> None: ...

    def note(self, text: str) -> None: ...


class Lines:
    """One line per table when it is loaded, and one now and then while it takes long."""

    def __init__(self) -> None:
        self._table = ""
        self._total = 1
        self._said = 0.0

    def start(self, table: str, total_bytes: int) -> None:
        self._table, self._total, self._said = table, max(1, total_bytes), time.monotonic()

    def advance(self, rows: int, consumed_bytes: int) -> None:
        if time.monotonic() - self._said >= LINE_SECONDS:
            self.note(f"{self._table}: {rows:,} rows, {consumed_bytes / self._total:.0%} of the file")
            self._said = time.monotonic()

    def finish(self, rows: int, seconds: float) -> None:
        self.note(f"{self._table}: {rows:,} rows in {seconds:.1f} s")

    def note(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


class Bar(Lines):
    """A tqdm bar per table, measured in bytes of the file."""

    def __init__(self) -> None:
        super().__init__()
        self._bar: Any = None

    def start(self, table: str, total_bytes: int) -> None:
        from tqdm import tqdm

        super().start(table, total_bytes)
        self._bar = tqdm(total=total_bytes, desc=table, unit="B", unit_scale=True, leave=False)

    def advance(self, rows: int, consumed_bytes: int) -> None:
        self._bar.set_postfix_str(f"{rows:,} rows", refresh=False)
        self._bar.update(consumed_bytes - self._bar.n)

    def finish(self, rows: int, seconds: float) -> None:
        self.close()
        super().finish(rows, seconds)

    def note(self, text: str) -> None:
        if self._bar is not None:
            self._bar.clear()
        super().note(text)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def for_standard_error() -> Progress:
    """The bar when standard error is a terminal and tqdm is installed, else lines."""
    if sys.stderr.isatty():
        try:
            import tqdm  # noqa: F401
        except ImportError:
            return Lines()
        return Bar()
    return Lines()
