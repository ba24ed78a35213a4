"""Refinement: trains the best-scored candidates within the budget, in a process of its own.

- `child` is the process, `protocol` what it reads and writes, `run` leads from a request to workers that serve it;
- `dataset` turns columns into encoded rows and checks that they can be learnt from;
- `session` spends the budget: measure (`speed`), plan (`planning`, `costs`), rungs, the `winner`;
- `remaining` knows what time is left, `supervision` tells workers when to stop and hears of their epochs, `revision`
  shortens plans, `saving` writes checkpoints and resumes from them, `models` keeps the best network (`keeping`,
  `refit`);
- `clock` is the time: the machine's, or one that passes when it is told to; `timings` is what each phase took of it;
- `schedulers` decides who trains next; `workers` trains on this machine's cores and GPUs, `ray_cluster` on a Ray
  cluster;
- `recorded` runs all that on learning curves (`curves`) that were recorded before, without training;
- `trial` is one candidate in training, `roster` all of them, `weights` its numbers, `stack` trains one or several
  at once, `metrics` measures;
- `checkpoint` writes survivors and reads them back, `memory` keeps a limit, `options` and `devices` are what callers
  choose from.

`options`, `devices` (its names), `protocol`, `clock`, `curves` and `schedulers` import no torch.
"""
