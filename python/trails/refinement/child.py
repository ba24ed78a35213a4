"""The refinement process: ``python -m trails.refinement.child``.

File descriptors: 0 requests, 1 events, 2 log; the request names those of the columns. It serves one request,
sends one ``result`` or ``error`` and exits. The end of fd 0, at any time, means that nobody
waits for it any more: it ends at once. Nothing but events reaches fd 1, whatever a library prints.
"""

from __future__ import annotations

import os
import queue
import threading
import time
import traceback

from trails.refinement.protocol import Events, Request, parse_request

REQUESTS_FD, EVENTS_FD, LOG_FD = range(3)

EXIT_ABANDONED = 3
"""Exit status when fd 0 ended: whoever asked is gone."""


def main() -> int:
    """Serve one request; the process's exit status: 0 with a result, 1 with an error."""
    started = time.monotonic()
    _let_waiting_threads_sleep()
    events_fd = os.dup(EVENTS_FD)
    os.dup2(LOG_FD, EVENTS_FD)
    events = Events.to_fd(events_fd)
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    # Before the slow imports, so that they can be abandoned too.
    threading.Thread(target=_watch, args=(lines,), daemon=True, name="requests").start()
    try:
        from trails.refinement.device import automatic

        events.ready(time.monotonic() - started, automatic())
        _serve(parse_request(lines.get()), events)
        status = 0
    except BrokenPipeError:
        status = EXIT_ABANDONED
    except Exception as error:
        status = 1
        try:
            events.error(error, "".join(traceback.format_exception(error)))
        except BrokenPipeError:
            status = EXIT_ABANDONED
    # Not by way of the interpreter's own end: freeing torch takes up to half a second, and the caller
    # waits.
    os._exit(status)


def _let_waiting_threads_sleep() -> None:
    """Have OpenMP's threads sleep at barriers instead of spinning; read once, when torch is imported.

    On two cores shared with eight busy processes, a step of 512-256-224-512 with two threads took
    916 ms spinning and 112 ms sleeping (one thread: 200 ms).
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")


def _serve(request: Request, events: Events) -> None:
    from trails.refinement.dataset import prepare
    from trails.refinement.device import select
    from trails.refinement.planning import MEASURING_SECONDS, assumed_seconds, too_small
    from trails.refinement.session import RESERVE_SECONDS, Refinement
    from trails.table.columns import Columns

    device = select(request.device, request.threads)
    train = Columns.from_fd(int(request.train["fd"]), request.train)
    held = request.validation
    validation = None if held is None else Columns.from_fd(int(held["fd"]), held)
    left = request.deadline - RESERVE_SECONDS - time.monotonic()
    if left < MEASURING_SECONDS:
        raise too_small(request, left, assumed_seconds(request))
    data = prepare(train, validation, request.target, request.seed, device)
    Refinement(request, data, events).run()


def _watch(lines: queue.SimpleQueue[bytes]) -> None:
    """Pass on request lines; end the process when fd 0 ends."""
    pending = b""
    while chunk := os.read(REQUESTS_FD, 1 << 16):
        pending += chunk
        *whole, pending = pending.split(b"\n")
        for line in whole:
            lines.put(line)
    os._exit(EXIT_ABANDONED)


if __name__ == "__main__":
    main()
