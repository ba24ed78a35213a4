"""Builds recorded benchmarks: trains and scores what is missing, on cores, GPUs and clusters, and repeats some of it.

`build` trains and `score_all` scores; `pools` and `ray_pool` are where; `train` and `score_one` are the work itself, on
the rows of `rowsets`; `timing` and `verify` train for another reason.
"""
