"""The network of the family of MLPs in PyTorch's own layers: what training by hand is compared with."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from trails.training.options import EMBEDDING
from trails.training.weights import EMBEDDING_STD


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
        embedding: int = EMBEDDING,
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
