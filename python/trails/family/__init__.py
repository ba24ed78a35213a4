"""Families of networks: what the architectures of a space are made of, how they are scored and how they are trained."""

from trails.family.base import Design, Family
from trails.family.registry import get_family, register_family

__all__ = ["Design", "Family", "get_family", "register_family"]
