"""What a network is made from."""

from __future__ import annotations

from typing import TypeAlias

Design: TypeAlias = tuple[int, ...]
"""What one network is made from, as its family reads an architecture: of an MLP its hidden widths."""
