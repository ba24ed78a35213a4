"""Pictures that cells are scored on: folders or archives of files, ``train/CLASS/NAME``, read and put into batches."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from trails.errors import InvalidInput, UnusableData, shown
from trails.family.cell.pixels import NotAPicture, decoded, standardised
from trails.tfmem import Batch

_ENDINGS = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class Pictures:
    """Decoded pictures.

    Args:
        pixels: uint8 (pictures, 3, side, side).
        classes: int64 (pictures,): places in `names`.
        names: Of the classes, sorted.
    """

    pixels: NDArray[np.uint8]
    classes: NDArray[np.int64]
    names: tuple[str, ...]

    def batch(self, rows: int, seed: int, side: int | None = None) -> Batch:
        """Some of them, standardised, as metrics read them.

        Args:
            rows: Different pictures.
            seed: Which.
            side: That they are resized to; None for their own.

        Raises:
            InvalidInput: There are fewer, or the side is no number of pixels.
        """
        if not 1 <= rows <= len(self.pixels):
            raise InvalidInput(f"a batch of {rows} cannot be taken of {len(self.pixels)} pictures")
        chosen = np.random.default_rng(seed).choice(len(self.pixels), rows, replace=False)
        own = replace(self, pixels=self.pixels[chosen], classes=self.classes[chosen])
        x = standardised(own.resized(self.pixels.shape[2] if side is None else side).pixels)
        return Batch(x.reshape(rows, -1), own.classes.astype(np.float64), "multiclass", len(self.names))

    def resized(self, side: int) -> Pictures:
        """The same pictures with another side, each pixel drawn by area or by straight lines between pixels.

        Args:
            side: Pixels, 1 or more.

        Raises:
            InvalidInput: The side is no number of pixels.
        """
        from PIL import Image

        if side < 1:
            raise InvalidInput(f"a picture has a side of one pixel or more, not {side}")
        if side == self.pixels.shape[2]:
            return self
        how = Image.Resampling.BOX if side < self.pixels.shape[2] else Image.Resampling.BILINEAR
        found = np.empty((len(self.pixels), 3, side, side), np.uint8)
        for place, picture in enumerate(self.pixels):
            image = Image.fromarray(np.ascontiguousarray(picture.transpose(1, 2, 0)))
            found[place] = np.asarray(image.resize((side, side), how)).transpose(2, 0, 1)
        return replace(self, pixels=found)


def read_pictures(source: Path, split: str = "train") -> Pictures:
    """Decode all pictures of a split, in the order of their names.

    Args:
        source: A folder or a tar archive that holds ``SPLIT/CLASS/NAME``.
        split: The folder's name.

    Raises:
        InvalidInput: There is none.
        UnusableData: One cannot be decoded, or they are of different sizes; it names the picture.
    """
    found: dict[tuple[str, str], NDArray[np.uint8]] = {}
    first: tuple[str, tuple[int, ...]] | None = None
    for path, content in _files(source):
        parts = PurePosixPath(path).parts
        if len(parts) < 3 or parts[-3] != split or not path.lower().endswith(_ENDINGS):
            continue
        try:
            pixels = decoded(content)
        except NotAPicture as error:
            raise UnusableData(f"picture {shown(path)} of {source} {error}", detail=error.detail) from error
        first = first or (path, pixels.shape)
        if pixels.shape != first[1]:
            raise UnusableData(
                f"pictures of {source} have different sizes",
                detail=f"{shown(first[0])} has {first[1][1]} pixels a side, {shown(path)} {pixels.shape[1]}.",
            )
        found[parts[-2], parts[-1]] = pixels
    if not found:
        raise InvalidInput(
            f"{source} holds no pictures of '{shown(split)}'", hint=f"They are files such as {split}/CLASS/0000.jpg."
        )
    keys = sorted(found)
    names = tuple(sorted({name for name, _ in keys}))
    return Pictures(np.stack([found[key] for key in keys]), np.array([names.index(name) for name, _ in keys]), names)


def _files(source: Path) -> Iterator[tuple[str, bytes]]:
    """Path and content of every file."""
    if source.is_dir():
        for file in sorted(source.rglob("*")):
            if file.is_file():
                yield file.relative_to(source).as_posix(), file.read_bytes()
        return
    try:
        with tarfile.open(source) as archive:
            for member in archive:
                stream = archive.extractfile(member) if member.isfile() else None
                if stream is not None:
                    yield member.name, stream.read()
    except FileNotFoundError as error:
        raise InvalidInput(f"there is no {source}", hint="Name a folder or an archive of pictures.") from error
    except (tarfile.TarError, OSError, EOFError) as error:
        raise UnusableData(f"{source} is no archive of pictures, or it is damaged", detail=str(error)) from error
