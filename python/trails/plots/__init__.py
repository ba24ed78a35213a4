"""Figures of runs, each drawn from plain dictionaries by one function (matplotlib)."""
