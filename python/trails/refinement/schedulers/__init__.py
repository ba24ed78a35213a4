"""Who trains next: decision makers that are asked for work and told results, and train nothing themselves.

- `base` is what a runner sees of any of them, `make` builds one by name for a budget of model-epochs;
- `rungs` keeps the books of a list of rungs, whatever list it is;
- `halving`, `rejects` and `uniform` are such lists, `hyperband` is several, one after another.
"""

from trails.refinement.schedulers.base import Job, Limits, RungEnd, Saved, Scheduler
from trails.refinement.schedulers.halving import SuccessiveHalving
from trails.refinement.schedulers.hyperband import Hyperband
from trails.refinement.schedulers.make import (
    check_scheduler,
    make_scheduler,
    planned_scheduler,
    resume_scheduler,
    takes_u,
)
from trails.refinement.schedulers.rejects import SuccessiveRejects
from trails.refinement.schedulers.rungs import RungScheduler
from trails.refinement.schedulers.uniform import UniformAllocation

__all__ = [
    "Hyperband",
    "Job",
    "Limits",
    "RungEnd",
    "RungScheduler",
    "Saved",
    "Scheduler",
    "SuccessiveHalving",
    "SuccessiveRejects",
    "UniformAllocation",
    "check_scheduler",
    "make_scheduler",
    "planned_scheduler",
    "resume_scheduler",
    "takes_u",
]
