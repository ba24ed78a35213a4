"""Recorded benchmarks of cells for pictures, whose accuracies others recorded: converted, scored, explored, asked.

`benchmark` answers, `store`, `score_table` and `training_seconds` are what lies on disk, `convert` and `official` read
what was published, `scores` and `timing` compute on `pictures`, `explore` repeats searches that a score guides.
`trainer` trains cells by looking them up, on a clock, for searches that train; `two_phase` is the product's selection.
"""
