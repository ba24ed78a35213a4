"""What a task on a Ray cluster came to: its result, what it raised, or that it is lost. Imports no ray."""

from __future__ import annotations

from typing import Any

from trails.errors import TrailsError


class Lost(Exception):
    """A task ended with its process or node; the cause says how."""


def result_of(ray: Any, ref: Any) -> Any:
    """What a task returned, or one of its messages.

    Args:
        ray: The module, connected.
        ref: Of the result.

    Raises:
        Lost: The task, or the node it ran on, is gone.
        TrailsError: The cluster failed, or a node cannot run Trails.
        BaseException: What the task raised, as if it had been raised here.
    """
    errors = ray.exceptions
    try:
        return ray.get(ref)
    except errors.RayTaskError as error:
        raise _told(error) from error
    except (
        errors.WorkerCrashedError,
        errors.NodeDiedError,
        errors.ObjectLostError,
        errors.OutOfMemoryError,
    ) as error:
        raise Lost from error
    except errors.RayError as error:
        raise TrailsError("the Ray cluster failed", detail=f"{type(error).__name__}: {error}") from error


def _told(error: Any) -> BaseException:
    """What a task raised, as if it had been raised here."""
    cause: BaseException = error.cause
    if "No module named" in str(cause):
        return TrailsError(
            "a node of the Ray cluster cannot run Trails",
            detail=str(cause),
            hint="Install the same version on every node: pip install 'trails[train,ray]'",
        )
    return cause
