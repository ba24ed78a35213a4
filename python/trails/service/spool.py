"""Readings of tables on disk: each is made once, by one reader, and read by any number of consumers at their own pace.

A batch is written to a file and read back by memory map, so that memory holds what the kernel chooses to keep and no
more. What all consumers of a reading have had can be removed when room is needed; a reader that finds no room waits for
its slowest consumer, and PostgreSQL with it. So the files never hold more than the limit and one batch per reading.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trails.errors import TrailsError
from trails.service.arrow import pa
from trails.service.catalogue import Relation
from trails.service.errors import ServiceError
from trails.service.reader import MOST_BYTES, Stopped, TableReader

_PREFIX = "trails-data-service-"

_LOOK_SECONDS = 0.2
"""Between two looks at whether a waiting consumer is still there, or a slow one too slow."""


class Gone(Exception):
    """The consumer is no longer there, so there is nobody to tell."""


@dataclass(frozen=True)
class _Segment:
    path: Path
    bytes: int
    rows: int

    def load(self) -> Any:
        """The record batch, whose memory is the file's."""
        with pa.ipc.open_file(pa.memory_map(str(self.path))) as file:
            return file.get_batch(0)


class Reading:
    """One reading of one table. Everything in it is guarded by its shelf's condition.

    Attributes:
        number: Counts the readings of a service.
        relation: What is read.
        first: Number of the first segment that is still there.
        end: One more than the number of the last segment.
        rows: Rows read so far.
        done: Whether everything is read.
        error: What ended it before its time.
    """

    def __init__(self, number: int, relation: Relation, reader: TableReader) -> None:
        self.number, self.relation, self.reader = number, relation, reader
        self.began = time.monotonic()
        self.seconds = 0.0
        self.segments: dict[int, _Segment] = {}
        self.first = self.end = self.rows = 0
        self.done = False
        self.error: BaseException | None = None
        self.consumers: set[Consumer] = set()
        self.used = self.began

    @property
    def bytes(self) -> int:
        """Of the segments that are there."""
        return sum(segment.bytes for segment in self.segments.values())

    @property
    def over(self) -> bool:
        """Whether no segment comes any more."""
        return self.done or self.error is not None

    def serves(self, relation: Relation, max_age: float) -> bool:
        """Whether a consumer that comes now for ``relation`` gets its rows from here."""
        if self.error is not None or self.first > 0 or self.relation.oid != relation.oid:
            return False
        if not set(relation.columns) <= set(self.relation.columns):
            return False
        return self.relation.snapshot == relation.snapshot or time.monotonic() - self.began < max_age


class Consumer:
    """One place in a reading. Use it as an iterator over record batches; close it.

    Args:
        shelf: Where the reading stands.
        reading: What is consumed.
        alive: Whether whoever consumes is still there; asked while waiting.
    """

    def __init__(self, shelf: Shelf, reading: Reading, alive: Callable[[], bool]) -> None:
        self._shelf, self.reading, self._alive = shelf, reading, alive
        self.place = 0
        self.since = time.monotonic()
        self.cut = False

    def __iter__(self) -> Iterator[Any]:
        """Record batches from the place on to the end.

        Raises:
            Gone: The consumer is not there any more.
            ServiceError: It was too slow for the others, or the service ends.
            TrailsError: The reading failed.
        """
        while (segment := self._shelf.wait_for(self)) is not None:
            batch = segment.load()
            yield batch
            self._shelf.advance(self)

    @property
    def alive(self) -> bool:
        """Whether it is still there."""
        return self._alive()

    def rewind(self) -> bool:
        """Back to the beginning; False if that has been removed."""
        return self._shelf.rewind(self)

    def close(self) -> None:
        """Leave the reading, which ends if it was the last consumer's and is not whole."""
        self._shelf.leave(self)


class Shelf:
    """All readings of a service.

    Args:
        dsn: From where.
        folder: Where files go, in a folder of their own; None for the system's temporary directory.
        limit: Bytes of files.
        max_age: Seconds for which a reading serves new consumers although the database has changed since.
        stall: Seconds after which a consumer that takes nothing, while others wait for it, is cut off.
        say: Told when a reading begins and ends.
    """

    def __init__(
        self,
        dsn: str,
        folder: Path | None = None,
        limit: int = 4 << 30,
        max_age: float = 60.0,
        stall: float = 60.0,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._dsn, self._limit, self._max_age, self._stall, self._say = dsn, limit, max_age, stall, say
        base = Path(tempfile.gettempdir()) if folder is None else folder
        _remove_leftovers(base)
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
        # Held as long as this process lives; see _remove_leftovers.
        self._lock = (self.folder / "lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._changed = threading.Condition()
        self._readings: dict[int, Reading] = {}
        self._numbers = itertools.count(1)
        self._closing = False

    # Consumers

    def attach(self, relation: Relation, alive: Callable[[], bool], fresh: bool = False) -> Consumer:
        """A consumer of a reading that holds the relation's columns: one that is there, or a new one."""
        with self._changed:
            self._check_open()
            fitting = (r for r in self._readings.values() if not fresh and r.serves(relation, self._max_age))
            # The youngest: its rows are the newest.
            reading = max(fitting, key=lambda reading: reading.number, default=None) or self._begin(relation)
            consumer = Consumer(self, reading, alive)
            reading.consumers.add(consumer)
            return consumer

    def wait_for(self, consumer: Consumer) -> _Segment | None:
        """The segment at the consumer's place, once it is there; None at the end. See `Consumer.__iter__`."""
        reading = consumer.reading
        with self._changed:
            while True:
                self._check_open()
                if consumer.cut:
                    raise ServiceError(
                        f"the consumer of {reading.relation} took nothing for {self._stall:g} s while others waited",
                        hint="Take batches sooner, or let the service have more --cache-bytes or a longer --stall.",
                        sqlstate="57014",
                    )
                consumer.since = time.monotonic()
                if consumer.place < reading.end:
                    return reading.segments[consumer.place]
                if reading.error is not None:
                    raise reading.error
                if reading.done:
                    return None
                self._changed.wait(_LOOK_SECONDS)
                if not consumer.alive:
                    raise Gone

    def advance(self, consumer: Consumer) -> None:
        """Go on to the next segment: this one is no longer needed for this consumer."""
        with self._changed:
            consumer.place += 1
            self._changed.notify_all()

    def rewind(self, consumer: Consumer) -> bool:
        """See `Consumer.rewind`."""
        with self._changed:
            if consumer.reading.first > 0 or consumer.cut:
                return False
            consumer.place = 0
            return True

    def leave(self, consumer: Consumer) -> None:
        """See `Consumer.close`."""
        with self._changed:
            reading = consumer.reading
            reading.consumers.discard(consumer)
            reading.used = time.monotonic()
            abandoned = not reading.consumers and not (reading.done and reading.first == 0)
            if abandoned:
                self._drop(reading)
            self._changed.notify_all()
        if abandoned:
            # Outside the lock: it asks the server.
            reading.reader.stop()

    # Readers

    def _begin(self, relation: Relation) -> Reading:
        reader = TableReader(self._dsn, relation, max(1, min(MOST_BYTES, self._limit // 8)))
        reading = Reading(next(self._numbers), relation, reader)
        self._readings[reading.number] = reading
        threading.Thread(target=self._fill, args=(reading,), daemon=True, name=f"reading {reading.number}").start()
        return reading

    def _fill(self, reading: Reading) -> None:
        error: BaseException | None = None
        self._say(f"reading {reading.number}: {reading.relation}, {len(reading.relation.columns)} columns")
        try:
            reading.reader.read(lambda batch: self._append(reading, batch))
        except BaseException as caught:
            error = caught
        with self._changed:
            reading.seconds = time.monotonic() - reading.began
            reading.error, reading.done = error, error is None
            self._changed.notify_all()
        if isinstance(error, Stopped):
            self._say(f"reading {reading.number}: stopped after {reading.rows:,} rows, nobody waits for more")
        elif error is not None:
            self._say(f"reading {reading.number}: failed after {reading.rows:,} rows: {error}")
        else:
            self._say(f"reading {reading.number}: {reading.rows:,} rows in {reading.seconds:.2f} s")

    def _append(self, reading: Reading, batch: Any) -> None:
        path = self.folder / f"{reading.number}-{reading.end}"
        size = batch.nbytes
        with self._changed:
            while not self._has_room(reading, size):
                if reading.number not in self._readings:
                    raise Stopped
                self._cut_stalled(reading)
                self._changed.wait(_LOOK_SECONDS)
        try:
            with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, batch.schema) as writer:
                writer.write_batch(batch)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise TrailsError(
                f"the data service cannot write to its cache in {self.folder}",
                str(error),
                "Give it another --cache-dir, or less --cache-bytes.",
                "53100",
            ) from error
        with self._changed:
            if reading.number not in self._readings:
                path.unlink()
                raise Stopped
            reading.segments[reading.end] = _Segment(path, path.stat().st_size, batch.num_rows)
            reading.end += 1
            reading.rows += batch.num_rows
            self._changed.notify_all()

    def _has_room(self, reading: Reading, size: int) -> bool:
        """Whether ``size`` more bytes fit, after removing what nobody needs, if they do not."""

        def fits() -> bool:
            return sum(other.bytes for other in self._readings.values()) + size <= self._limit

        if reading.number not in self._readings:
            return False
        idle = [other for other in self._readings.values() if not other.consumers]
        for other in sorted(idle, key=lambda other: other.used):
            if fits():
                return True
            self._drop(other)
        for other in sorted(self._readings.values(), key=lambda other: other is reading):
            while not fits() and other.first < min((c.place for c in other.consumers), default=other.end):
                other.segments.pop(other.first).path.unlink()
                other.first += 1
        # A reading whose consumers had everything may always go on: otherwise two that are large could wait for
        # each other.
        return fits() or not reading.segments

    def _cut_stalled(self, reading: Reading) -> None:
        """Part from consumers that hold the others up."""
        now = time.monotonic()
        if any(consumer.place == reading.end for consumer in reading.consumers):
            for consumer in list(reading.consumers):
                if consumer.place < reading.end and now - consumer.since > self._stall:
                    consumer.cut = True
                    reading.consumers.discard(consumer)

    def _drop(self, reading: Reading) -> None:
        """Remove a reading's files; consumers that have a batch in memory keep it."""
        self._readings.pop(reading.number, None)
        for segment in reading.segments.values():
            segment.path.unlink(missing_ok=True)
        reading.segments = {}
        if not reading.over:
            reading.error = Stopped()

    # The whole

    def status(self) -> dict[str, Any]:
        """What is there, as plain JSON types."""
        with self._changed:
            readings = [
                {
                    "reading": reading.number,
                    "relation": str(reading.relation),
                    "columns": [column.name for column in reading.relation.columns],
                    "rows": reading.rows,
                    "bytes": reading.bytes,
                    "whole": reading.done and reading.first == 0,
                    "done": reading.done,
                    "seconds": reading.seconds if reading.over else time.monotonic() - reading.began,
                    "consumers": len(reading.consumers),
                }
                for reading in self._readings.values()
            ]
            return {"bytes": sum(r.bytes for r in self._readings.values()), "limit": self._limit, "readings": readings}

    def close(self) -> None:
        """End every reading, tell every consumer, remove the files."""
        with self._changed:
            self._closing = True
            readings = list(self._readings.values())
            for reading in readings:
                self._drop(reading)
            self._changed.notify_all()
        for reading in readings:
            reading.reader.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.close()

    def _check_open(self) -> None:
        if self._closing:
            raise ServiceError("the data service ends", sqlstate="57P01")


def _remove_leftovers(base: Path) -> None:
    """Remove what services left that were killed: theirs is a lock that nobody holds."""
    for folder in base.glob(f"{_PREFIX}*"):
        try:
            if folder.stat().st_uid != os.geteuid():
                continue
            with (folder / "lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            pass  # In use, or not yet locked, or gone.
