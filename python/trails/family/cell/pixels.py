"""One picture as files and databases hold it, made into the numbers that networks of cells read."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trails.errors import InvalidInput

MEAN, DEVIATION = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
"""Of CIFAR-10's channels, red, green and blue, where white is 1: what the reference implementations standardise by."""

SMALLEST_SIDE, LARGEST_SIDE = 4, 256
"""Pixels of the side of a picture: cells halve it twice, and of 32 of the largest pictures the first layer of
NAS-Bench-101 makes 268 million numbers."""

_ENCODED = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG"}
"""What a file of each format begins with."""


class NotAPicture(ValueError):
    """What networks of cells cannot read; its text goes on after the name of the picture.

    Args:
        told: What is wrong, such as ``cannot be decoded``.
        detail: More of it.
    """

    def __init__(self, told: str, detail: str | None = None) -> None:
        super().__init__(told)
        self.detail = detail


def decoded(content: bytes) -> NDArray[np.uint8]:
    """The pixels of a PNG or JPEG: uint8 (3, side, side).

    Raises:
        NotAPicture: It is neither, damaged, not square, too small or too large, or not of three channels of 8 bits.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise InvalidInput(
            "PNG and JPEG are decoded by Pillow, which is not installed",
            hint="Install it where Trails is (pip install pillow), or store the pixels as bytes or arrays.",
        ) from error
    try:
        with Image.open(io.BytesIO(content), formats=tuple(_ENCODED.values())) as picture:
            # Before anything is decoded: a file of some bytes may say that it holds millions of pixels.
            (width, height), mode = picture.size, picture.mode
            if width != height or mode != "RGB":
                raise NotAPicture(
                    "is not square with three channels of 8 bits",
                    f"It is of {width} x {height} pixels with the channels {mode}.",
                )
            _check_side(width)
            return np.ascontiguousarray(np.asarray(picture, np.uint8).transpose(2, 0, 1))
    except (NotAPicture, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise NotAPicture("cannot be decoded", "It begins as a PNG or JPEG does, and is none.") from error
    except Exception as error:  # damage makes it raise whatever comes to its decoders
        raise NotAPicture("cannot be decoded", f"{type(error).__name__}: {error}") from error


def of_bytes(content: bytes) -> NDArray[np.float64]:
    """A picture that is a PNG, a JPEG, or its pixels themselves, a byte each, channel by channel: float64 (numbers,),
    standardised.

    Raises:
        NotAPicture: It is none of these, or not as `decoded` says.
    """
    if any(content.startswith(beginning) for beginning in _ENCODED):
        return standardised(decoded(content)).reshape(-1)
    pixels = np.frombuffer(content, np.uint8)
    side = _side_of(pixels.shape)
    if side is None:
        raise NotAPicture(
            "cannot be decoded",
            f"Its {len(content)} bytes are no PNG or JPEG, and no three channels of a square picture, a byte a number.",
        )
    return standardised(pixels.reshape(3, side, side)).reshape(-1)


def of_numbers(numbers: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """A picture whose numbers come channel by channel: float64 (numbers,).

    Whole numbers are 0 to 255 and are standardised; others are taken as they are.

    Args:
        numbers: Integers or floats, flat.
        shape: Of the array that they are: ``(3 * side * side,)`` or ``(3, side, side)``.

    Raises:
        NotAPicture: Another shape, a number that is out of range or not finite, or a side too small or too large.
    """
    side = _side_of(shape)
    if side is None:
        raise NotAPicture(
            "is not square with three channels",
            f"Its array is of {' x '.join(map(str, shape)) or 'no'} numbers; those of 32 x 32 pixels are 3 x 32 x 32, "
            "or 3072 one after the other.",
        )
    if np.issubdtype(numbers.dtype, np.integer):
        outside = (numbers < 0) | (numbers > 255)
        if outside.any():
            found = numbers[int(np.argmax(outside))]
            raise NotAPicture(f"holds {found}: whole numbers of pixels are 0 to 255")
        return standardised(numbers.astype(np.uint8).reshape(3, side, side)).reshape(-1)
    with np.errstate(over="ignore"):
        # Networks read them so: of what is infinite then, every score would be the same.
        finite = np.isfinite(numbers.astype(np.float32))
    if not finite.all():
        raise NotAPicture(f"holds {numbers[int(np.argmin(finite))]}, which is no finite number of single precision")
    return numbers.astype(np.float64)


def standardised(pixels: NDArray[np.uint8] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Pixels, 0 to 255, less `MEAN`, by `DEVIATION`: float64, of the shape (..., 3, side, side) of ``pixels``."""
    x = pixels / 255.0
    standard: NDArray[np.float64] = (x - np.reshape(MEAN, (3, 1, 1))) / np.reshape(DEVIATION, (3, 1, 1))
    return standard


def _side_of(shape: tuple[int, ...]) -> int | None:
    """Pixels of the side of what has this shape; None if it is no square picture of three channels."""
    match shape:
        case (numbers,):
            side = math.isqrt(numbers // 3)
            if 3 * side * side != numbers or not side:
                return None
        case (3, side, width) if side == width:
            pass
        case _:
            return None
    _check_side(side)
    return side


def _check_side(side: int) -> None:
    if not SMALLEST_SIDE <= side <= LARGEST_SIDE:
        raise NotAPicture(
            f"has {side} pixels a side",
            f"Networks of cells are scored on pictures of {SMALLEST_SIDE} to {LARGEST_SIDE} pixels a side.",
        )
