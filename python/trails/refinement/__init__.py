"""Refinement: trains the best-scored candidates within the budget, in a process of its own.

- `child` is the process, `protocol` what it reads and writes, `run` leads from a request to workers that serve it;
- `dataset` turns columns into encoded rows and checks that they can be learnt from;
- `session` spends the budget: measure (`speed`), plan (`planning`, `costs`), rungs, the winner's further epochs;
- `schedulers` decides who trains next; `workers` trains on this machine's cores and GPUs, `ray_cluster` on a Ray
  cluster;
- `trial` is one candidate in training, `weights` its numbers, `stack` trains one or several at once, `metrics`
  measures;
- `checkpoint` writes survivors and reads them back, `memory` keeps a limit, `options` and `device_names` are what
  callers choose from, and `checks` refuses what they cannot.

`checks`, `device_names`, `options`, `protocol` and `schedulers` import no torch.
"""
