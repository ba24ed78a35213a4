"""The file that NAS-Bench-101's authors publish (``nasbench_only108.tfrecord``, ``nasbench_full.tfrecord``), read
without TensorFlow.

A record is JSON: hash, epochs, matrix, operations, and a message of Protocol Buffers in base64 that holds, among
others, one message for each evaluation: at the beginning, in the middle and at the end of a training.

Source: the interface published with Ying et al., arXiv:1902.09635 (model_metrics.proto).
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from trails.errors import UnusableData

# Fields of the messages, by their numbers.
_EVALUATIONS = 1
_TRAINING_TIME, _TRAIN, _VALID, _TEST = 2, 3, 4, 5

_LONGEST = 1 << 24
"""Bytes of a record at most: one has about a thousand."""


@dataclass(frozen=True)
class Record:
    """One training of one cell.

    Args:
        module_hash: 32 hexadecimal digits.
        epochs: Of the training.
        matrix: Upper triangular, of zeros and ones.
        operations: Of every vertex.
        train: Accuracy at the end, 0 to 1.
        valid: Likewise.
        test: Likewise.
        seconds: Of the training.
    """

    module_hash: str
    epochs: int
    matrix: list[list[int]]
    operations: list[str]
    train: float
    valid: float
    test: float
    seconds: float


def read_tfrecord(file: Path) -> Iterator[Record]:
    """Every training, in the file's order.

    Raises:
        UnusableData: The file is damaged, or another one.
    """
    with file.open("rb") as stream:
        for number, content in enumerate(_contents(stream, file)):
            try:
                yield _record(content)
            except (ValueError, KeyError, IndexError, TypeError, struct.error, binascii.Error) as error:
                raise UnusableData(
                    f"record {number} of {file} is no training of NAS-Bench-101", detail=str(error)
                ) from error


def _contents(stream: BinaryIO, file: Path) -> Iterator[bytes]:
    """Of every record: a length, a check of it, the content, a check of that."""
    while head := stream.read(12):
        length = struct.unpack("<Q", head[:8])[0] if len(head) == 12 else _LONGEST + 1
        if length > _LONGEST or struct.unpack("<I", head[8:])[0] != _masked(head[:8]):
            raise UnusableData(f"{file} is no file of records, or it is damaged")
        content, check = stream.read(length), stream.read(4)
        if len(content) < length or check != struct.pack("<I", _masked(content)):
            raise UnusableData(f"{file} is damaged or cut")
        yield content


def _record(content: bytes) -> Record:
    module_hash, epochs, matrix, operations, metrics = json.loads(content)
    vertices = math.isqrt(len(matrix))
    rows = [[int(entry) for entry in matrix[vertices * row : vertices * (row + 1)]] for row in range(vertices)]
    evaluations = [
        dict(_fields(value)) for number, value in _fields(base64.b64decode(metrics)) if number == _EVALUATIONS
    ]
    last = {number: struct.unpack("<d", value)[0] for number, value in evaluations[-1].items() if len(value) == 8}
    return Record(
        module_hash,
        int(epochs),
        rows,
        operations.split(","),
        last[_TRAIN],
        last[_VALID],
        last[_TEST],
        last[_TRAINING_TIME],
    )


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Numbers and contents of a message's fields; those of integers are their digits."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        kind = key & 7
        if kind == 0:
            begin = place
            _, place = _varint(message, place)
        elif kind == 1:
            begin, place = place, place + 8
        elif kind == 2:
            length, begin = _varint(message, place)
            place = begin + length
        elif kind == 5:
            begin, place = place, place + 4
        else:
            raise ValueError(f"a field of kind {kind}")
        if place > len(message):
            raise ValueError("a message that is cut")
        yield key >> 3, message[begin:place]


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """A number in groups of seven bits, the lowest first, and where it ends."""
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place


def _table() -> tuple[int, ...]:
    """Of CRC-32C (Castagnoli), byte by byte."""
    found = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        found.append(byte)
    return tuple(found)


_CRC = _table()


def _masked(content: bytes) -> int:
    """The check that such files carry: CRC-32C, turned by 15 bits, plus a number."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc = crc >> 8 ^ _CRC[(crc ^ byte) & 255]
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
