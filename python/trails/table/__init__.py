"""From a table's columns to what a network reads: typed views, vocabularies, hold-out rows (NumPy only)."""
