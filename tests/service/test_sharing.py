"""One reading for many consumers: sharing, room on disk, back-pressure, and everything that can end it."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.service.conftest import TOKEN, Database, Serve, eventually
from trails.errors import TrailsError
from trails.service import DataClient, DataService
from trails.service.catalogue import connected, find
from trails.service.client import Batch, request_for
from trails.service.spool import Shelf

ROWS = 400_000
LIMIT = 1 << 20


@pytest.fixture
def numbers(database: Database) -> Database:
    """A table that is several times as large as `LIMIT`, and as what gRPC holds on the way."""
    database.sql(
        f"CREATE TABLE numbers AS SELECT n, n * 2 AS m, md5(n::text) AS t FROM generate_series(0, {ROWS - 1}) n",
    )
    return database


def take(stream: Iterator[Batch], rows: int) -> list[np.ndarray[Any, Any]]:
    """The first rows' numbers, without ending the stream."""
    found: list[np.ndarray[Any, Any]] = []
    while sum(map(len, found)) < rows:
        found.append(next(stream).data["n"])
    return found


def total(stream: Iterator[Batch]) -> tuple[int, int]:
    """Rows and the sum of their numbers."""
    rows = added = 0
    for batch in stream:
        rows, added = rows + batch.rows, added + int(batch.data["n"].sum(dtype=np.int64))
    return rows, added


ALL = (ROWS, ROWS * (ROWS - 1) // 2)


def test_consumers_share_a_reading_each_at_its_own_place(numbers: Database, serve: Serve) -> None:
    service = serve()
    with DataClient(service.uri, TOKEN) as one, DataClient(service.uri, TOKEN) as two:
        slow = one.stream("numbers", batch=1_000)
        begun = take(slow, 1_000)
        assert total(two.stream("numbers", ["n"], batch=4_096)) == ALL
        rest = total(slow)
        assert rest[0] + len(begun[0]) == ROWS
        assert total(one.stream("numbers", epochs=2)) == (2 * ALL[0], 2 * ALL[1])
    (reading,) = service.status()["readings"]
    assert (reading["reading"], reading["rows"], reading["whole"], reading["consumers"]) == (1, ROWS, True, 0)


def test_rows_are_read_anew_when_the_database_has_changed(database: Database, serve: Serve) -> None:
    database.sql("CREATE TABLE t AS SELECT 1 AS n")
    strict, patient = serve(max_age=0.0), serve(max_age=3600.0)

    def seen(service: DataService, **options: Any) -> tuple[list[int], int]:
        with DataClient(service.uri, TOKEN) as client:
            batches = list(client.stream("t", **options))
        return [n for batch in batches for n in batch.data["n"].tolist()], batches[0].reading

    assert seen(strict) == seen(patient) == ([1], 1)
    assert seen(strict) == ([1], 1), "nothing has changed"
    database.sql("INSERT INTO t VALUES (2)")
    assert seen(strict) == ([1, 2], 2)
    assert seen(patient) == ([1], 1)
    assert seen(patient, fresh=True) == ([1, 2], 2)
    assert seen(patient) == ([1, 2], 2), "the youngest reading serves"
    # Another table of the same name is another table.
    database.sql("DROP TABLE t", "CREATE TABLE t AS SELECT 7 AS n")
    assert seen(patient) == ([7], 3)


def test_the_reader_waits_for_consumers_when_there_is_no_room(numbers: Database, serve: Serve) -> None:
    service = serve(cache_bytes=LIMIT)
    with DataClient(service.uri, TOKEN) as client:
        stream = client.stream("numbers", batch=1_000)
        begun = take(stream, 1_000)

        def rows_read() -> int:
            return int(service.status()["readings"][0]["rows"])

        # It stops by itself: nothing was taken, so nothing more is read.
        seen = [-1]
        eventually(lambda: seen[-1] == (seen.append(rows_read()) or seen[-1]) and len(seen) > 50)
        assert 1_000 <= rows_read() < ROWS / 2
        assert service.status()["bytes"] <= LIMIT
        on_disk = sum(file.stat().st_size for file in service.folder.iterdir())
        assert on_disk <= LIMIT
        (state,) = numbers.sql("SELECT wait_event FROM pg_stat_activity WHERE application_name = 'trails data-service'")
        assert state == ("ClientWrite",), "PostgreSQL waits too"
        rest = total(stream)
        assert (rest[0] + 1_000, rest[1] + int(begun[0].sum())) == ALL
        assert service.status()["bytes"] <= LIMIT


def test_epochs_of_a_table_beyond_the_limit_are_read_again(numbers: Database, serve: Serve) -> None:
    with DataClient(serve(cache_bytes=LIMIT).uri, TOKEN) as client:
        epochs: dict[tuple[int, int], int] = {}
        for batch in client.stream("numbers", ["n"], batch=8_192, epochs=3):
            key = (batch.epoch, batch.reading)
            epochs[key] = epochs.get(key, 0) + batch.rows
    assert epochs == {(0, 1): ROWS, (1, 2): ROWS, (2, 3): ROWS}


def test_a_slow_and_a_fast_consumer_get_everything_within_the_limit(numbers: Database, serve: Serve) -> None:
    service = serve(cache_bytes=LIMIT)
    found: dict[str, tuple[int, int]] = {}
    pause = threading.Event()

    def consume(name: str, wait: float) -> None:
        with DataClient(service.uri, TOKEN) as client:
            rows = added = 0
            for batch in client.stream("numbers", batch=20_000):
                rows, added = rows + batch.rows, added + int(batch.data["n"].sum(dtype=np.int64))
                pause.wait(wait)
            found[name] = rows, added

    threads = [threading.Thread(target=consume, args=arguments) for arguments in (("slow", 0.05), ("fast", 0.0))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == {"slow": ALL, "fast": ALL}


def test_a_consumer_that_stalls_the_others_is_cut_off(numbers: Database, tmp_path: Path) -> None:
    with connected(numbers.dsn) as connection, connection.cursor() as cursor:
        relation = find(cursor, "numbers", None)
    shelf = Shelf(numbers.dsn, tmp_path, LIMIT, stall=0.5)
    try:
        stalled, other = (shelf.attach(relation, lambda: True) for _ in range(2))
        assert stalled.reading is other.reading
        batches = iter(stalled)
        first = next(batches)
        assert sum(batch.num_rows for batch in other) == ROWS
        with pytest.raises(TrailsError, match=r"took nothing for 0\.5 s") as caught:
            next(batches)
        assert caught.value.sqlstate == "57014" and "cache-bytes" in (caught.value.hint or "")
        assert first.column("n")[0].as_py() == 0, "what it has stays, although the file is gone"
        for consumer in (stalled, other):
            consumer.close()
        assert not shelf.status()["readings"] and shelf.status()["bytes"] == 0
    finally:
        shelf.close()


def test_a_consumer_alone_may_take_its_time(numbers: Database, serve: Serve) -> None:
    with DataClient(serve(cache_bytes=LIMIT, stall=0.0).uri, TOKEN) as client:
        stream = client.stream("numbers", batch=1_000)
        take(stream, 1_000)
        threading.Event().wait(1.0)
        assert total(stream)[0] == ROWS - 1_000


def test_a_consumer_that_stops_ends_the_reading_and_leaves_nothing(numbers: Database, serve: Serve) -> None:
    service = serve(cache_bytes=LIMIT)
    with DataClient(service.uri, TOKEN) as client:
        stream = client.stream("numbers", batch=1_000)
        take(stream, 1_000)
        assert numbers.readers()
        stream.close()  # type: ignore[attr-defined]
        eventually(lambda: not service.status()["readings"] and not numbers.readers())
        assert [file.name for file in service.folder.iterdir()] == ["lock"]
        assert total(client.stream("numbers")) == ALL


def test_a_query_that_computes_is_cancelled_when_nobody_waits(database: Database, serve: Serve) -> None:
    database.sql("CREATE VIEW slow AS SELECT n, pg_sleep(60)::text AS s FROM generate_series(1, 9) n")
    service = serve()
    told: list[TrailsError] = []

    def wait() -> None:
        with DataClient(service.uri, TOKEN) as client:
            try:
                list(client.stream("slow"))
            except TrailsError as error:
                told.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    eventually(lambda: bool(database.sql("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'")))
    service.close()
    waiting.join(20)
    assert [error.sqlstate for error in told] == ["57P01"]
    eventually(lambda: not database.readers())


def test_columns_that_change_before_the_stream_are_told(database: Database, client: DataClient) -> None:
    database.sql("CREATE TABLE t AS SELECT 1 AS n, 'a' AS t")
    info = client._info(request_for("t", None))
    database.sql("ALTER TABLE t ALTER n TYPE bigint")
    with pytest.raises(TrailsError, match="have changed") as caught, client._told():
        client._flight.do_get(info.endpoints[0].ticket, client._options).read_all()
    assert caught.value.sqlstate == "55000"
    assert [batch.data["n"].dtype for batch in client.stream("t")] == [np.int64]


def test_columns_that_change_between_epochs_are_told(numbers: Database, serve: Serve) -> None:
    with DataClient(serve(cache_bytes=LIMIT).uri, TOKEN) as client:
        stream = client.stream("numbers", ["n", "m"], batch=50_000, epochs=2)
        for _ in range(2):
            next(stream)
        changing = threading.Thread(target=numbers.sql, args=("ALTER TABLE numbers DROP m",))
        changing.start()  # Waits for the reading's lock.
        with pytest.raises(TrailsError) as caught:
            total(stream)
        changing.join(20)
        assert caught.value.sqlstate in ("55000", "42703")


def test_a_session_that_is_terminated_ends_every_consumer(numbers: Database, serve: Serve) -> None:
    service = serve(cache_bytes=LIMIT)
    with DataClient(service.uri, TOKEN) as one, DataClient(service.uri, TOKEN) as two:
        streams = [one.stream("numbers", batch=1_000), two.stream("numbers", batch=1_000)]
        for stream in streams:
            take(stream, 1_000)
        # The first batches may have been removed before the second consumer came: then there are two readings.
        for pid in numbers.readers():
            numbers.sql(f"SELECT pg_terminate_backend({pid})")

        def told(stream: Any) -> TrailsError:
            with pytest.raises(TrailsError) as caught:
                total(stream)
            return caught.value

        # Side by side: what had been sent before may be more than the cache, and then one waits for the other.
        with ThreadPoolExecutor() as consumers:
            for error in consumers.map(told, streams):
                assert error.sqlstate in ("57P01", "08000", "08006"), error
        assert total(one.stream("numbers")) == ALL


def test_a_cache_that_cannot_be_written_is_told(numbers: Database, serve: Serve) -> None:
    service = serve()
    shutil.rmtree(service.folder)
    with DataClient(service.uri, TOKEN) as client, pytest.raises(TrailsError, match="cannot write") as caught:
        total(client.stream("numbers"))
    assert caught.value.sqlstate == "53100"


def test_a_service_takes_no_more_consumers_than_it_may(numbers: Database, serve: Serve) -> None:
    with DataClient(serve(cache_bytes=LIMIT, consumers=1).uri, TOKEN) as client:
        first = client.stream("numbers", batch=1_000)
        take(first, 1_000)
        with pytest.raises(TrailsError, match="as many consumers") as caught:
            list(client.stream("numbers"))
        assert caught.value.sqlstate == "53300"
        first.close()  # type: ignore[attr-defined]

        def free() -> bool:
            try:
                return total(client.stream("numbers")) == ALL
            except TrailsError:
                return False

        eventually(free)


def test_leftovers_of_killed_services_are_removed_and_others_are_not(database: Database, tmp_path: Path) -> None:
    dead = tmp_path / "trails-data-service-dead"
    dead.mkdir()
    (dead / "lock").touch()
    (dead / "1-0").write_bytes(b"rows")
    with DataService(database.dsn, TOKEN, cache_dir=tmp_path) as one:
        with DataService(database.dsn, TOKEN, cache_dir=tmp_path) as two:
            assert not dead.exists() and one.folder.exists() and two.folder.exists()
            assert one.folder.stat().st_mode & 0o777 == 0o700
        assert one.folder.exists() and not two.folder.exists()
    assert not one.folder.exists()
