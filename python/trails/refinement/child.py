"""The refinement process: ``python -m trails.refinement.child``.

File descriptors: 0 requests, 1 events, 2 log; the first request names those of columns and checkpoints. It takes
two requests: the rows, which it encodes while the caller still ranks architectures, and what to do with them; or one:
pictures to score cells on. It sends one ``result``, ``profile``, ``scored`` or ``error`` and exits. The end of fd 0, at
any time, means that nobody waits for it any more: it ends at once. Nothing but events reaches fd 1, whatever a library
prints.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
import traceback
from collections.abc import Callable

from trails.limits import HEARTBEAT_SECONDS
from trails.refinement import memory, process
from trails.refinement.protocol import Cells, Events, Profile, Setting, parse_first, parse_request

REQUESTS_FD, EVENTS_FD, LOG_FD = range(3)

EXIT_ABANDONED = 3
"""Exit status when fd 0 ended: whoever asked is gone."""


def main() -> int:
    """Serve one caller; the process's exit status: 0 with a result, 1 with an error."""
    started = time.monotonic()
    process.prepare()
    events_fd = os.dup(EVENTS_FD)
    os.dup2(LOG_FD, EVENTS_FD)
    events = Events.to_fd(events_fd)
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    # Before the slow imports, so that they can be abandoned too.
    threading.Thread(target=_watch, args=(lines,), daemon=True, name="requests").start()
    threading.Thread(target=_beat, args=(events,), daemon=True, name="heartbeat").start()
    limit = 0
    try:
        from trails.refinement.devices import automatic

        device = automatic()
        events.ready(time.monotonic() - started, device)
        setting = parse_first(lines.get())
        limit = setting.memory_limit
        if isinstance(setting, Cells):
            from trails.refinement.cells import score

            score(setting, events)
        else:
            _serve(setting, lines.get, events)
        status = 0
    except BrokenPipeError:
        status = EXIT_ABANDONED
    except Exception as error:
        status = 1
        told = memory.shortage(limit, error) if memory.is_shortage(error) else error
        try:
            events.error(told, "".join(traceback.format_exception(error)))
        except BrokenPipeError:
            status = EXIT_ABANDONED
    # Not by way of the interpreter's own end: freeing torch takes up to half a second, and the caller
    # waits.
    os._exit(status)


def _serve(setting: Setting, next_line: Callable[[], bytes], events: Events) -> None:
    memory.enforce(setting.memory_limit, setting.train, setting.validation)
    import torch

    from trails.refinement.dataset import prepare
    from trails.refinement.devices import cores, select
    from trails.refinement.sources import read_source
    from trails.refinement.timings import Timings
    from trails.training import kernels

    devices = select(setting.device)
    torch.set_num_threads(cores(setting.threads))
    kernels.replaced(devices[0].type)  # before the first rows, so that nothing is measured with it
    timings = Timings(setting.started)
    with timings.phase("encode"):
        train = read_source(setting.train, setting.target)
        held = setting.validation
        validation = None if held is None else read_source(held, setting.target, like=train)
        data = prepare(
            train,
            validation,
            setting.target,
            setting.seed,
            devices[0],
            task=setting.task,
            by=setting.by,
            metric=setting.metric,
            options=setting.options,
            budget=setting.budget,
        )
    begun = time.monotonic() - setting.started
    events.rows(timings.rows[-1]["seconds"], begun, data.target.task, data.metric, data.held_out)
    for warning in data.warnings:
        events.warning(warning)

    from trails.refinement.run import profile, refine

    request = parse_request(next_line())
    if isinstance(request, Profile):
        profile(setting, request, data, devices, events)
    else:
        refine(setting, request, data, devices, events, timings)


def _beat(events: Events) -> None:
    """Tell the caller every second that this process is alive."""
    with contextlib.suppress(BrokenPipeError):
        while True:
            events.alive()
            time.sleep(HEARTBEAT_SECONDS)


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
