"""A search that is like BOHB: Optuna's tree-structured Parzen estimator proposes, its Hyperband pruner ends bad trials.

BOHB (Falkner, Klein, Hutter: BOHB: Robust and Efficient Hyperparameter Optimization at Scale, ICML 2018) has a
kernel density of its own and synchronous rungs; this is multivariate TPE (Bergstra et al., NIPS 2011) under
asynchronous Hyperband brackets, and is called what it is wherever it is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from trails.bench.trainer import OutOfTime, Trainer

ETA = 3
"""Hyperband's reduction factor."""

IDLE = 50
"""Proposals in a row that cost nothing, being trained as far already, after which the search has converged."""

TRIALS = 200
"""Proposals after which a search ends: Optuna takes longer for each the more there were, by then some 20 ms."""


def tpe_hyperband(trainer: Trainer, seed: int, epochs: int) -> None:
    """Optuna's TPE under its Hyperband pruner, epochs as resource, the metric at every milestone told.

    It ends after `TRIALS` proposals, or where it has converged. Choices that have an order are numbers, so that widths
    are near each other or far; others are names. A pruned trial trains no further; one that is proposed again goes on
    from there. The real seconds that Optuna thinks are charged.
    """
    # Importing it takes a second, and nobody else needs it.
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    milestones = trainer.milestones(epochs)
    study = optuna.create_study(
        # The pruner assigns trials to brackets by this name.
        study_name=f"seed {seed}",
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed, multivariate=True),
        pruner=optuna.pruners.HyperbandPruner(min_resource=milestones[0], max_resource=epochs, reduction_factor=ETA),
    )
    idle = 0
    with suppress(OutOfTime):
        while idle < IDLE and len(study.get_trials(deepcopy=False)) < TRIALS:
            with trainer.thinking():
                trial = study.ask()
                digits = [
                    trial.suggest_int(str(position), 0, len(choices) - 1)
                    if trainer.ordered
                    else trial.suggest_categorical(str(position), range(len(choices)))
                    for position, choices in enumerate(trainer.space.choices)
                ]
            index = int(trainer.space.indices(np.array([digits]))[0])
            before = trainer.epochs
            _train(trainer, study, trial, index, milestones)
            idle = idle + 1 if trainer.epochs == before else 0


def _train(trainer: Trainer, study: object, trial: object, index: int, milestones: Sequence[int]) -> None:
    """Train a trial from milestone to milestone until it is over or pruned."""
    import optuna

    assert isinstance(study, optuna.Study) and isinstance(trial, optuna.Trial)
    metric = math.nan
    for epoch in milestones:
        metric = trainer.train(index, epoch)
        if math.isnan(metric):
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            return
        with trainer.thinking():
            trial.report(metric, epoch)
            pruned = trial.should_prune()
        if pruned:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            return
    study.tell(trial, metric)
