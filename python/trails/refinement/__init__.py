"""Refinement: trains the best-scored candidates within the budget, in a process of its own.

- `child` is the process, `protocol` what it reads and writes, `run` leads from a request to workers that serve it;
  `checks` refuses what no run could use before there is one, `device_names` reads the names of `devices`;
- `dataset` turns columns (`sources`) into encoded rows and checks that they can be learnt from, `scale_trial` whether
  a number is learnt by its logarithm; `memory` keeps a limit, `process` settles the process;
- `session` spends the budget: measure (`speed`), plan (`planning`, `costs`), rungs, the `winner`, alone or as
  a network of several `members`;
- `remaining` knows what time is left, `supervision` tells workers when to stop and hears of their epochs, `revision`
  shortens plans, `saving` writes checkpoints (`checkpoint`) and resumes from them;
- `models` is what a run asks of its networks: `keeping` writes the best one (`export`), its probabilities calibrated
  (`calibration`) or its numbers (`calibrated_numbers`), `refit` trains it on all rows; `incumbent` says what an earlier
  model does on the rows held out;
- `ensemble_selection` chooses networks that do better together, `ensemble` makes one model of them, `ensemble_step` is
  what a run does about it at its end; `finalists` says whether it mattered which candidate was picked;
- `clock` is the time: the machine's, or one that passes when it is told to; `timings` is what each phase took of it;
- `schedulers` decides who trains next; `workers` trains on this machine's cores and GPUs; on a Ray cluster
  (`ray_cluster`, `ray_connection`, `ray_failures`) `ray_worker` has tasks (`ray_task`, `ray_messages`) do it;
- `trial` is one candidate in training, `roster` all of them, `metrics` measures, `leaderboard` is the order;
- `cells` is no refinement: the same process scores networks for pictures, which the backend must not do itself;
- `recorded` runs all that on learning curves (`curves`) that were recorded before, without training
  (`recorded_worker`).

What the networks are is their family's matter (`trails.family`), what all of them share in training is
`trails.training`. `checks`, `device_names`, `protocol`, `clock`, `curves`, `incumbent`, `leaderboard` and
`schedulers` import no torch.
"""
