"""Datasets on their way into PostgreSQL: their sources, the check of each line, the load.

The only part of the package that knows a database driver, and it imports it (psycopg2) only when it connects.
"""

from trails.loading.fields import Fields, read_fields
from trails.loading.libsvm import Block, MalformedLine, read_blocks
from trails.loading.sources import SPLITS, Dataset, find_dataset

__all__ = [
    "SPLITS",
    "Block",
    "Dataset",
    "Fields",
    "MalformedLine",
    "find_dataset",
    "read_blocks",
    "read_fields",
]
