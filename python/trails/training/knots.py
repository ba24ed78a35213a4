"""Fields of numbers as training sees them: between which embedding rows they lie, and how these keep to a line.

The vectors of a field's knots are *r_j + p_j w*: a line in the knots' positions, which all rows of the table teach, and
what each knot differs from it. Both are trained, and L2 is on the differences alone, so that few rows make a line of a
number and not nothing. What is kept, and read, are the sums: a stored model knows of no line.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
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

    def along_lines(self, upper: Tensor) -> Tensor:
        """The gradient of the slopes (..., fields, numbers) from that of the knots' vectors (..., knots, numbers)."""
        slopes = upper.new_zeros((*upper.shape[:-2], len(self.fields), upper.shape[-1]))
        return slopes.index_add_(-2, self.owners, upper * self.positions.unsqueeze(-1))


def looked_up(table: Tensor, ids: Tensor, knots: Knots | None, shares: Tensor | None) -> Tensor:
    """The fields' vectors.

    Args:
        table: (embedding rows, numbers).
        ids: int32 or int64 (..., rows, fields).
        knots: Of the fields that are interpolated, or None.
        shares: (rows, interpolated fields); None where ``knots`` is.

    Returns:
        (..., rows, fields, numbers), in memory of its own.
    """
    found = embedding(ids, table)
    if knots is None or shares is None:
        return found
    ahead = embedding(next_ids(ids, knots, shares), table)
    if ids.shape[-1] == len(knots.fields):
        return found.lerp_(ahead, shares.unsqueeze(-1))
    own = found.index_select(-2, knots.fields)
    return found.index_copy_(-2, knots.fields, own.lerp_(ahead, shares.unsqueeze(-1)))


def next_ids(ids: Tensor, knots: Knots, shares: Tensor) -> Tensor:
    """The embedding rows behind those of the interpolated fields, (..., rows, interpolated fields), or the fields' own
    where nothing is the next row's: behind the last one there may be none."""
    return ids.index_select(-1, knots.fields) + (shares > 0.0)


def divided(upper: Tensor, ids: Tensor, knots: Knots, shares: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient of the vectors as one of embedding rows.

    Args:
        upper: Of what `looked_up` gave, (..., rows, fields, numbers); overwritten.
        ids, knots, shares: As there.

    Returns:
        (..., rows, fields + interpolated fields, numbers) and, without the numbers, the embedding rows they belong to.
    """
    own = upper.index_select(-2, knots.fields)
    ahead = own * shares.unsqueeze(-1)
    upper.index_copy_(-2, knots.fields, own.sub_(ahead))
    return torch.cat([upper, ahead], -2), torch.cat([ids, next_ids(ids, knots, shares)], -1)
