"""Training-free model evaluation metrics (TFMEMs): scores that need a network but no training of it.

:data:`REGISTRY` is the one list of them; everything that takes metrics by name looks them up with
:func:`parse_tfmems` or :func:`get_tfmem`. Each has two implementations: the formula as published, one network at a
time in torch (:mod:`trails.tfmem.textbook`), and the fast one that the system runs, in NumPy, over what a family of
networks says of one of them (:mod:`trails.family.scoring`). Tests hold the two together.
"""

from trails.tfmem.batch import Batch
from trails.tfmem.registry import REGISTRY, Orientation, ScoringSetting, Tfmem, get_tfmem, parse_tfmems

__all__ = ["REGISTRY", "Batch", "Orientation", "ScoringSetting", "Tfmem", "get_tfmem", "parse_tfmems"]
