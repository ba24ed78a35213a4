"""What no refinement could use is refused before anything is started. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trails.checks import Check, no_check
from trails.errors import InvalidInput
from trails.refinement.device_names import parse_devices
from trails.refinement.schedulers import check_scheduler
from trails.space import parse_space
from trails.table.judged import parse_metric
from trails.table.target import parse_task
from trails.training.options import parse_options

_LOOK_EVERY = 1024
"""Architectures read between two looks at the caller."""


@dataclass(frozen=True)
class RefinementArguments:
    """What a caller says of a refinement.

    Args:
        refinement: Name of the scheduler.
        k: Candidates of the first rung, if fixed.
        u: Epochs of the first rung, if fixed.
        options: JSON object of training options, or None for the defaults.
        device: Setting of the device.
        task: What is learnt of the target; None to infer it.
        metric: By which candidates are compared; None for that of the task.
    """

    refinement: str
    k: int | None = None
    u: int | None = None
    options: str | None = None
    device: str = "auto"
    task: str | None = None
    metric: str | None = None

    def check(self) -> None:
        """Refuse what no refinement could use.

        Raises:
            InvalidInput: Unknown scheduler, option, device, task or metric; a number out of range.
        """
        chosen = parse_options(self.options)
        parse_devices(self.device)
        parse_metric(self.metric, parse_task(self.task))
        check_scheduler(self.refinement, k=self.k, u=self.u, eta=chosen.eta, max_epochs=chosen.max_epochs)


def check_architectures(space: str, architectures: Sequence[str], check: Check = no_check) -> list[str]:
    """The architectures as the space writes them.

    Args:
        space: Name of the space.
        architectures: Texts that the space reads.
        check: Called at least every 50 ms; what it raises ends the call.

    Raises:
        InvalidInput: None is given, one is given twice, or one is not in the space.
    """
    if not architectures:
        raise InvalidInput("no architecture is given")
    known = parse_space(space)
    written: dict[str, None] = {}
    for place, given in enumerate(architectures):
        if place % _LOOK_EVERY == 0:
            check()
        architecture = known.format(known.parse(given))
        if architecture in written:
            raise InvalidInput(f"architecture {architecture} is given more than once")
        written[architecture] = None
    return list(written)
