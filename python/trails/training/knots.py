"""Fields of numbers as training sees them: between which embedding rows they lie, and how these keep to a line.

The vectors of a field's knots are *r_j + p_j w*: a line in the knots' positions, which all rows of the table teach, and
what each knot differs from it. Both are trained, and L2 is on the differences alone, so that few rows make a line of a
number and not nothing. What is kept, and read, are the sums: a stored model knows of no line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import embedding

from trails.table.encoder import Encoder
from trails.table.fields import FIRST_SLOT


@dataclass(frozen=True)
class Knots:
    """Of all interpolated fields together, on one device.

    Args:
        fields: int64, shape (interpolated fields,): their places among all fields.
        rows: int64, shape (knots,): embedding row of every knot, of which no field has the same.
        owners: int64, shape (knots,): which interpolated field a knot is of.
        positions: float32, shape (knots,): where it lies on the field's line; see `trails.table.fields.Field`.
    """

    fields: Tensor
    rows: Tensor
    owners: Tensor
    positions: Tensor

    @classmethod
    def of(cls, encoder: Encoder) -> Knots | None:
        """Those of an encoder, on the CPU; None if no field is interpolated."""
        fields, offsets = encoder.interpolated, encoder.offsets
        if not fields:
            return None
        parts = [encoder.parts[place] for place in fields]
        firsts = [offsets[place] + FIRST_SLOT for place in fields]
        rows = [np.arange(first, first + len(part.edges)) for first, part in zip(firsts, parts, strict=True)]
        owners = np.repeat(np.arange(len(parts)), [len(part.edges) for part in parts])
        return cls(
            torch.tensor(fields),
            torch.from_numpy(np.concatenate(rows)),
            torch.from_numpy(owners),
            torch.from_numpy(np.concatenate([part.positions for part in parts])),
        )

    def to(self, device: torch.device) -> Knots:
        """The same on ``device``."""
        return Knots(*(part.to(device) for part in (self.fields, self.rows, self.owners, self.positions)))

    def on_lines(self, slopes: Tensor) -> Tensor:
        """The vectors (..., knots, numbers) that the knots have on lines of these ``slopes`` (..., fields, numbers)."""
        return slopes.index_select(-2, self.owners).mul_(self.positions.unsqueeze(-1))


@dataclass(frozen=True)
class Between:
    """How far rows lie between two knots.

    Args:
        fields: int64, shape (fields between,): places among all fields. Integers of few values lie between knots only
            where a value is new, so most rows need no look at them.
        shares: float32, shape (rows, fields between): of each vector what is the next embedding row's.
    """

    fields: Tensor
    shares: Tensor

    @classmethod
    def of(cls, shares: NDArray[np.float32] | None) -> Between | None:
        """Of what an encoder found (rows, fields), on the CPU; None if no row lies between two knots."""
        if shares is None or not (fields := np.flatnonzero(shares.any(0))).size:
            return None
        # Taken as they lie where all fields are between: a copy would be four bytes a cell.
        own = shares if fields.size == shares.shape[1] else np.take(shares, fields, axis=1)
        return cls(torch.from_numpy(fields), torch.from_numpy(own))

    @classmethod
    def together(cls, parts: Sequence[tuple[Between | None, int]], fields: int) -> Between | None:
        """Of rows one behind the other: those of each part, and how many rows it has; of so many fields in all."""
        if all(part is None for part, _ in parts):
            return None
        shares = []
        for part, rows in parts:
            own = np.zeros((rows, fields), np.float32)
            if part is not None:
                own[:, part.fields.cpu().numpy()] = part.shares.cpu().numpy()
            shares.append(own)
        return cls.of(np.concatenate(shares))

    def rows(self, chosen: Tensor | slice) -> Between:
        """The same of some rows: a copy at an order, views of a slice."""
        return Between(self.fields, self.shares[chosen])

    def to(self, device: torch.device) -> Between:
        """The same on ``device``."""
        return Between(self.fields.to(device), self.shares.to(device))

    def next_ids(self, ids: Tensor) -> Tensor:
        """The embedding rows behind those that rows have, (..., rows, fields between) of ids (..., rows, fields).

        Where nothing is the next row's they are the rows' own: behind the last one there is none.
        """
        return ids.index_select(-1, self.fields) + (self.shares > 0.0)

    def lerp(self, found: Tensor, ahead: Tensor) -> Tensor:
        """Vectors (..., rows, fields, numbers), those between knots moved towards the next rows' (..., rows, fields
        between, numbers)."""
        own = found.index_select(-2, self.fields)
        return found.index_copy(-2, self.fields, own.lerp(ahead, self.shares.unsqueeze(-1)))

    def divided(self, upper: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """The gradient of the vectors as one of embedding rows.

        Args:
            upper: Of what `looked_up` gave, (..., rows, fields, numbers); overwritten.
            ids: As there.

        Returns:
            (..., rows, fields + fields between, numbers) and, without the numbers, the embedding rows they belong to.
        """
        own = upper.index_select(-2, self.fields)
        ahead = own * self.shares.unsqueeze(-1)
        upper.index_copy_(-2, self.fields, own.sub_(ahead))
        return torch.cat([upper, ahead], -2), torch.cat([ids, self.next_ids(ids)], -1)


def looked_up(table: Tensor, ids: Tensor, between: Between | None) -> Tensor:
    """The fields' vectors, (..., rows, fields, numbers), in memory of their own.

    Args:
        table: (embedding rows, numbers).
        ids: int32 or int64 (..., rows, fields).
        between: Of the rows; None where all lie at knots.
    """
    found = embedding(ids, table)
    return found if between is None else between.lerp(found, embedding(between.next_ids(ids), table))
