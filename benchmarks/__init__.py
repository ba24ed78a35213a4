"""The experiments: ``python -m benchmarks`` lists them, ``python -m benchmarks NAME`` runs one and draws it.

An experiment is one module here with

- a docstring whose first line says what it computes,
- ``run(context)``: measure, and :meth:`~benchmarks.harness.Context.record` raw rows; skip what is recorded,
- ``draw(document)``: figures by name suffix, from the recorded rows and nothing else,
- optionally ``DATASETS``: the names that ``--dataset`` may take, the first by default,
- optionally ``missing(dataset)``: why it cannot run on a dataset, for lack of recordings that do not come with the
  project; None where it can,
- optionally ``summarise(document)``: lines to print after a run.
"""
