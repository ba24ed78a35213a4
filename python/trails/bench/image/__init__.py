"""Recorded benchmarks of cells for pictures, whose accuracies others recorded: converted, scored, explored, asked.

`benchmark` answers, `store` and `score_table` are what lies on disk, `convert` and `official` read what was published,
`scores` computes on the batches of `pictures`, `explore` repeats searches.
"""
