"""Families of networks: what the architectures of a space are made of, how they are scored and how they are trained."""

from trails.family.base import Family
from trails.family.design import Design
from trails.family.mlp import MLP
from trails.family.registry import get_family, register_family

__all__ = ["MLP", "Design", "Family", "get_family", "register_family"]
