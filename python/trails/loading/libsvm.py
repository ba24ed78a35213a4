"""Read LibSVM files block by block, checking every line.

A line is ``label id:value id:value ...``: the label 0 or 1, then exactly one pair per field, in the order of
the fields, with the id inside the field's range where fields.tsv gives one. Separators are spaces or tabs; a
line may end with CR LF. Blank lines and comments are refused.

Most blocks are checked as a whole: without its digits a well-formed block is one fixed pattern repeated, and
what is left to compare is a matrix of integers. A block that is not so simple goes line by line, which also
finds the reason.
"""

from __future__ import annotations

import gzip
import lzma
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray

from trails.errors import UnusableData
from trails.loading.fields import LARGEST_ID, MOST_FIELDS, Fields
from trails.loading.malformed import MalformedLine

__all__ = ["Block", "MalformedLine", "open_binary", "read_blocks"]

BLOCK_BYTES = 1 << 20
LONGEST_LINE = 1 << 24
"""Bytes; a longer line means that the file is not text, and must not fill the memory first."""

_NUMBER = re.compile(rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_VALUE = re.compile(rb":[^ \n]+")
_SEPARATOR = re.compile(rb"[ \t]+")
_SHOWN = 40


@dataclass(frozen=True)
class Block:
    """Consecutive lines of a file, all of them well-formed.

    Attributes:
        first_line: Number of the first line, from 1.
        text: The lines, separated by single spaces, each ended by one newline.
        labels: int8, one per line.
        ids: int32, lines x fields.
        other_values: How many of the values are not the number 1.
        consumed: Bytes of the file (compressed, if it is) read up to the end of this block.
    """

    first_line: int
    text: bytes
    labels: NDArray[np.int8]
    ids: NDArray[np.int32]
    other_values: int
    consumed: int

    def __len__(self) -> int:
        return len(self.labels)

    def without_values(self) -> bytes:
        """The lines as ``label id id ...``."""
        # Only when every value is the single character 1 is ":1" never the start of a longer one.
        if self.text.count(b":1 ") + self.text.count(b":1\n") == self.ids.size:
            return self.text.replace(b":1", b"")
        return _VALUE.sub(b"", self.text)


def open_binary(path: Path) -> tuple[IO[bytes], IO[bytes]]:
    """Open a plain, .xz or .gz file: its content, and the raw stream, whose position shows progress."""
    raw = path.open("rb")
    if path.suffix == ".xz":
        return cast(IO[bytes], lzma.open(raw)), raw
    if path.suffix == ".gz":
        return cast(IO[bytes], gzip.open(raw)), raw
    return raw, raw


def read_blocks(path: Path, fields: Fields | None = None, block_bytes: int = BLOCK_BYTES) -> Iterator[Block]:
    """Yield the file's lines in blocks of about ``block_bytes``.

    Args:
        path: Plain text, .xz or .gz.
        fields: Names and id ranges; None takes the number of fields from the first line and allows any id.
        block_bytes: Bytes of decompressed text per block.

    Raises:
        MalformedLine: The first line that does not fit. Nothing of its block has been yielded.
        UnusableData: No line at all, or a compressed file that is cut or damaged.
    """
    line = 1
    for chunk, consumed in _whole_lines(path, block_bytes):
        if fields is None:
            fields = _fields_of_first_line(path, chunk)
        block = _check_at_once(chunk, fields, line, consumed) or _check_lines(path, chunk, fields, line, consumed)
        yield block
        line += len(block)
    if line == 1:
        raise UnusableData(f"{path} holds no line")


def _whole_lines(path: Path, block_bytes: int) -> Iterator[tuple[bytes, int]]:
    """Chunks that end with a newline, the last as well, each with the raw bytes read so far."""
    stream, raw = open_binary(path)
    with raw, stream:
        rest = b""
        while True:
            try:
                data = stream.read(block_bytes)
            except (lzma.LZMAError, gzip.BadGzipFile, EOFError) as error:
                raise UnusableData(f"{path} is cut or damaged: {error}") from None
            if not data:
                break
            data = rest + data
            cut = data.rfind(b"\n") + 1
            chunk, rest = data[:cut], data[cut:]
            if len(rest) > LONGEST_LINE:
                raise UnusableData(f"{path} is not LibSVM text: a line is longer than {LONGEST_LINE} bytes")
            if chunk:
                yield chunk.replace(b"\r\n", b"\n"), raw.tell()
        if rest:
            yield rest.removesuffix(b"\r") + b"\n", raw.tell()


def _fields_of_first_line(path: Path, chunk: bytes) -> Fields:
    count = len(_tokens(chunk[: chunk.index(b"\n")])) - 1
    if count < 1:
        raise MalformedLine(str(path), 1, "no field: a line is 'label id:value id:value ...'")
    if count > MOST_FIELDS:
        raise MalformedLine(str(path), 1, f"{count} fields, more than the {MOST_FIELDS} that a table can hold")
    return Fields.numbered(count)


def _check_at_once(chunk: bytes, fields: Fields, line: int, consumed: int) -> Block | None:
    """The block if all its lines are in the plainest form (single spaces, integer values), else None."""
    rows, width = chunk.count(b"\n"), len(fields)
    if chunk.translate(None, b"0123456789") != (b" :" * width + b"\n") * rows:
        return None
    # A label is one character: the byte after each line's start is then a space.
    octets = np.frombuffer(chunk, dtype=np.uint8)
    starts = np.concatenate(([0], np.flatnonzero(octets == ord("\n"))[:-1] + 1))
    if not np.all(octets[starts + 1] == ord(" ")):
        return None
    other_values = 0
    if chunk.count(b":1 ") + chunk.count(b":1\n") == rows * width:
        numbers = np.fromstring(chunk.replace(b":1", b""), dtype=np.int64, sep=" ")
        if numbers.size != rows * (width + 1):
            return None
        ids = numbers.reshape(rows, width + 1)[:, 1:]
    else:
        numbers = np.fromstring(chunk.replace(b":", b" "), dtype=np.int64, sep=" ")
        # Fewer numbers than separators: some id, value or label is empty.
        if numbers.size != rows * (2 * width + 1):
            return None
        ids = numbers.reshape(rows, 2 * width + 1)[:, 1::2]
        other_values = int(np.count_nonzero(numbers.reshape(rows, -1)[:, 2::2] != 1))
    labels = octets[starts] - ord("0")
    low, high = _ranges(fields)
    if labels.max() > 1 or np.any(ids < low) or np.any(ids > high):
        return None
    return Block(line, chunk, labels.astype(np.int8), ids.astype(np.int32), other_values, consumed)


def _check_lines(path: Path, chunk: bytes, fields: Fields, line: int, consumed: int) -> Block:
    """The same line by line: slower, takes every allowed form, and says what is wrong with another."""
    low, high = _ranges(fields)
    labels: list[int] = []
    ids: list[int] = []
    lines: list[bytes] = []
    other_values = 0
    for number, content in enumerate(chunk.removesuffix(b"\n").split(b"\n"), line):
        try:
            tokens = _tokens(content)
            if not tokens:
                raise ValueError("blank line")
            if tokens[0] not in (b"0", b"1"):
                raise ValueError(f"the label must be 0 or 1: {_show(tokens[0])}")
            if len(tokens) - 1 != len(fields):
                few = "few" if len(tokens) - 1 < len(fields) else "many"
                raise ValueError(f"too {few} fields: {len(tokens) - 1} instead of {len(fields)}")
            for i, token in enumerate(tokens[1:]):
                name, value = _pair(token, i, fields.names[i])
                if not low[i] <= name <= high[i]:
                    shown = _show(token.partition(b":")[0])
                    where = f"field {i + 1} ({fields.names[i]})"
                    raise ValueError(f"{where}: the id {shown} is outside {low[i]} to {high[i]}")
                ids.append(name)
                other_values += value != b"1" and float(value) != 1.0
        except ValueError as error:
            raise MalformedLine(str(path), number, _not_utf8(content) or str(error)) from None
        labels.append(int(tokens[0]))
        lines.append(b" ".join(tokens))
    matrix = np.array(ids, dtype=np.int32).reshape(len(labels), len(fields))
    text = b"\n".join(lines) + b"\n"
    return Block(line, text, np.array(labels, dtype=np.int8), matrix, other_values, consumed)


def _tokens(line: bytes) -> list[bytes]:
    return [token for token in _SEPARATOR.split(line) if token]


def _pair(token: bytes, position: int, field: str) -> tuple[int, bytes]:
    name, colon, value = token.partition(b":")
    where = f"field {position + 1} ({field})"
    if not colon:
        raise ValueError(f"{where}: not id:value: {_show(token)}")
    if not name.isdigit():
        raise ValueError(f"{where}: the id must be an integer of 0 and more: {_show(token)}")
    if not _NUMBER.fullmatch(value):
        raise ValueError(f"{where}: the value must be a number: {_show(token)}")
    digits = name.lstrip(b"0") or b"0"
    return int(digits) if len(digits) <= 18 else LARGEST_ID + 1, value


def _ranges(fields: Fields) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Lowest and highest id of each field."""
    if fields.first_ids is None or fields.sizes is None:
        return np.zeros(len(fields), np.int64), np.full(len(fields), LARGEST_ID, np.int64)
    low = np.array(fields.first_ids, dtype=np.int64)
    return low, low + np.array(fields.sizes, dtype=np.int64) - 1


def _not_utf8(line: bytes) -> str | None:
    try:
        line.decode()
    except UnicodeDecodeError as error:
        return f"byte {error.start + 1} is not UTF-8"
    return None


def _show(token: bytes) -> str:
    """A token for an error message: short, printable, in one line."""
    text = "".join(c if c.isprintable() else "?" for c in token[:_SHOWN].decode(errors="replace"))
    return f"'{text}...'" if len(token) > _SHOWN else f"'{text}'"
