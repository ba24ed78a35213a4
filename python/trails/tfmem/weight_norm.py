"""The sum over layers of the L2 norm of the weights.

Source: the baseline of pruning at initialisation; see Abdelfattah et al., Zero-cost proxies for lightweight NAS,
arXiv:2101.08134.
"""

from __future__ import annotations

import numpy as np

from trails.tfmem.network import Matrix


def weight_norm_of(weights: tuple[Matrix, ...]) -> float:
    """The score of one network with these weight matrices."""
    return float(sum(np.linalg.norm(matrix) for matrix in weights))
