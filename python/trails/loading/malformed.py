"""The error for a line that cannot be loaded."""

from __future__ import annotations

from typing import ClassVar

from trails.errors import UnusableData


class MalformedLine(UnusableData):
    """A line of an input file that does not fit (SQLSTATE 22P04, bad_copy_file_format).

    Args:
        file: The file as the user named it.
        line: Number of the line, from 1.
        reason: What is wrong with it.
    """

    default_sqlstate: ClassVar[str] = "22P04"

    def __init__(self, file: str, line: int, reason: str) -> None:
        super().__init__(f"{file}:{line}: {reason}")
        self.file = file
        self.line = line
        self.reason = reason

    def _arguments(self) -> tuple[object, ...]:
        return self.file, self.line, self.reason
