"""The network that refinement trains: embedded categories into an MLP."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

EMBEDDING_SIZE = 10
"""Published size of a category's vector, the one that the filtering phase scores with."""

EMBEDDING_STD = 0.01
"""Small on purpose. On Frappe (256-256-256-256, two epochs, validation AUC) 0.01 gave 0.9757, 0.1 0.9645
and 0.5 0.9475: rare categories start as nothing instead of as noise that is learnt by heart."""


class TabularMlp(nn.Module):
    """Embedding, then for every hidden width Linear, BatchNorm, ReLU (and dropout), then the outputs.

    The hidden Linear layers have no bias: the BatchNorm behind each has one.

    Args:
        ids: Rows of the embedding table, over all fields together (`Encoder.ids`).
        fields: Categorical fields of a row; the MLP reads ``fields * embedding`` numbers.
        widths: Widths of the hidden layers, first layer first.
        embedding: Size of a category's vector.
        dropout: Share of every hidden layer's outputs dropped in training.
        outputs: Numbers predicted for a row.
    """

    def __init__(
        self,
        ids: int,
        fields: int,
        widths: Sequence[int],
        embedding: int = EMBEDDING_SIZE,
        dropout: float = 0.0,
        outputs: int = 1,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(ids, embedding)
        nn.init.normal_(self.embedding.weight, std=EMBEDDING_STD)
        layers: list[nn.Module] = []
        inputs = fields * embedding
        for width in widths:
            layers += [nn.Linear(inputs, width, bias=False), nn.BatchNorm1d(width), nn.ReLU(inplace=True)]
            if dropout > 0.0:
                layers.append(nn.Dropout(dropout))
            inputs = width
        layers.append(nn.Linear(inputs, outputs))
        self.mlp = nn.Sequential(*layers)

    def forward(self, ids: Tensor, values: Tensor | None = None) -> Tensor:
        """Logits or standardised values of rows.

        Args:
            ids: int32, shape (rows, fields): rows of the embedding table.
            values: float32, shape (rows, fields): factors for the vectors; None when all are 1.

        Returns:
            float32, shape (rows,), or (rows, outputs) of several.
        """
        embedded = self.embedding(ids)
        if values is not None:
            embedded = embedded * values.unsqueeze(2)
        logits: Tensor = self.mlp(embedded.flatten(1))
        return logits.squeeze(1)


def multiply_accumulates(widths: Sequence[int], inputs: int) -> int:
    """Multiply-accumulates of one row through the MLP forward, embedding and BatchNorm not counted.

    Args:
        widths: Hidden widths, first layer first.
        inputs: Numbers that the first layer reads: fields times embedding size.
    """
    sizes = (inputs, *widths, 1)
    return sum(before * after for before, after in pairwise(sizes))
