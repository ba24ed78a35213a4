"""Refinement: trains the best-scored candidates with successive halving, in a process of its own.

- `child` is the process, `protocol` what it reads and writes;
- `dataset` turns columns into encoded rows and checks that they can be learnt from;
- `session` spends the budget: profile, plan, rungs, the winner's extra epochs;
- `schedulers` decides who trains next, `costs` what it will take, `trainer` trains, `metrics` measures.

Torch is imported by `dataset`, `trainer` and `session` only.
"""
