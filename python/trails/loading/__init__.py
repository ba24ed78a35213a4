"""Datasets on their way into PostgreSQL: their sources, the check of each line, the load.

The only part of the package that knows a database driver, and it imports it (psycopg2) only when it connects. Import
from the modules: the command line needs a name of one of them, and must not wait for NumPy, which others import.
"""
