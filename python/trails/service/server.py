"""The service itself: Arrow Flight's calls, each a thin shell over the catalogue and the shelf of readings."""

from __future__ import annotations

import hmac
import ipaddress
import json
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from trails.errors import InvalidInput
from trails.service.arrow import flight, pa
from trails.service.batches import arranged
from trails.service.catalogue import Relation, changed, connected, find
from trails.service.errors import ServiceError, to_wire
from trails.service.request import STATUS, Request
from trails.service.spool import Consumer, Gone, Shelf
from trails.service.tokens import check_token


class DataService:
    """Serves the tables of one database, as one role may see them. Use it as a context manager.

    Args:
        dsn: A libpq connection string.
        token: What every call must carry; at least 16 characters.
        host: Address to listen on.
        port: Port to listen on; 0 for a free one.
        certificate: PEM certificate chain and PEM private key; None for no TLS.
        insecure: Whether an address other than the loopback is served without TLS.
        cache_dir: Where readings are kept; None for the system's temporary directory.
        cache_bytes: How much of them.
        max_age: Seconds for which a reading serves new consumers although the database has changed since.
        stall: Seconds after which a consumer that takes nothing, while others wait for it, is cut off.
        consumers: Streams at a time, at most.
        say: Told what happens.

    Raises:
        InvalidInput: A token that is too short; an address that cannot be had, or that needs TLS.
        DatabaseError: The database cannot be reached.
    """

    def __init__(
        self,
        dsn: str,
        token: str,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        certificate: tuple[bytes, bytes] | None = None,
        insecure: bool = False,
        cache_dir: Path | None = None,
        cache_bytes: int = 4 << 30,
        max_age: float = 60.0,
        stall: float = 60.0,
        consumers: int = 64,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        check_token(token)
        if certificate is None and not insecure and not is_loopback(host):
            raise InvalidInput(
                f"{host} is no loopback address, and without TLS everybody on the way could read rows and token",
                hint="Give a certificate (--tls-cert and --tls-key), or say --insecure.",
            )
        with connected(dsn):
            pass  # Better now than when the first consumer comes.
        scheme = "grpc" if certificate is None else "grpc+tls"
        written = f"[{host}]" if ":" in host else host
        self._shelf = Shelf(dsn, cache_dir, cache_bytes, max_age, stall, say)
        try:
            calls = _Calls(dsn, self._shelf, consumers)
            location = f"{scheme}://{written}:{port}"
            tls = [] if certificate is None else [certificate]
            self._flight = _flight_server(calls, location, tls, {"token": _TokenCheck(token)})
        except (pa.ArrowException, OSError) as error:
            self._shelf.close()
            raise InvalidInput(f"cannot listen on {written}:{port}", str(error).partition("\n")[0]) from error
        self.uri = f"{scheme}://{written}:{self._flight.port}"

    @property
    def folder(self) -> Path:
        """Where this service's files are; only its own user may enter."""
        return self._shelf.folder

    def status(self) -> dict[str, Any]:
        """What the service holds: see `Shelf.status`."""
        return self._shelf.status()

    def close(self, seconds: float = 2.0) -> None:
        """Tell every consumer that it ends, remove the files, stop listening.

        A consumer that reads nothing cannot be told; after ``seconds`` nobody waits for it any more.
        """
        self._shelf.close()
        stopping = threading.Thread(target=self._flight.shutdown, daemon=True, name="shutdown")
        stopping.start()
        stopping.join(seconds)

    def __enter__(self) -> DataService:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _TokenCheck(flight.ServerMiddlewareFactory):  # type: ignore[misc]
    """Refuses every call that does not carry the token."""

    def __init__(self, token: str) -> None:
        super().__init__()
        self._expected = f"Bearer {token}".encode()

    def start_call(self, info: Any, headers: dict[str, list[str]]) -> None:
        given = headers.get("authorization", [""])
        # In the same time for every wrong token, however much of it is right.
        if len(given) != 1 or not hmac.compare_digest(str(given[0]).encode(), self._expected):
            raise to_wire(
                ServiceError(
                    "the data service refuses the token",
                    hint="Give the service's own: --token-file, or TRAILS_SERVICE_TOKEN.",
                    sqlstate="28000",
                )
            )


class _Calls:
    """What the calls do, apart from Flight."""

    def __init__(self, dsn: str, shelf: Shelf, consumers: int) -> None:
        self._dsn, self._shelf = dsn, shelf
        self._places = threading.BoundedSemaphore(consumers)

    def find(self, request: Request) -> Relation:
        """The relation that a request is about, with the columns that it wants."""
        with connected(self._dsn) as connection, connection.cursor() as cursor:
            relation = find(cursor, request.table, request.columns)
        if request.structure is not None and request.structure != relation.structure:
            raise changed(relation)
        return relation

    def status(self) -> dict[str, Any]:
        """See `Shelf.status`."""
        return self._shelf.status()

    def stream(self, request: Request, relation: Relation, alive: Callable[[], bool]) -> Iterator[tuple[Any, bytes]]:
        """Batches, each with what is to be known of it as JSON: epoch, number of its first row, reading.

        An empty batch with ``end`` closes each epoch, so that a consumer can tell a whole stream from a part.
        """
        if not self._places.acquire(blocking=False):
            raise ServiceError("the data service has as many consumers as it may have", sqlstate="53300")
        consumer: Consumer | None = None
        try:
            consumer = self._shelf.attach(relation, alive, request.fresh)
            for epoch in range(request.epochs):
                if epoch and not consumer.rewind():
                    # Its beginning had to make room. The new reading may hold other rows, but no other columns.
                    consumer.close()
                    again = self.find(Request(request.table, request.columns, structure=relation.structure))
                    consumer = self._shelf.attach(again, alive)
                rows, about = 0, {"epoch": epoch, "reading": consumer.reading.number}
                parts = _projected(consumer, relation)
                for batch in arranged(parts, request.batch, request.shuffle, request.seed, epoch):
                    yield batch, json.dumps({**about, "first": rows}).encode()
                    rows += batch.num_rows
                yield _empty(relation), json.dumps({**about, "first": rows, "end": True}).encode()
        finally:
            if consumer is not None:
                consumer.close()
            self._places.release()


def _projected(batches: Iterable[Any], relation: Relation) -> Iterator[Any]:
    schema = relation.arrow
    for batch in batches:
        yield pa.RecordBatch.from_arrays([batch.column(name) for name in schema.names], schema=schema)


def _empty(relation: Relation) -> Any:
    return pa.RecordBatch.from_pylist([], schema=relation.arrow)


def _wired(stream: Iterator[tuple[Any, bytes]]) -> Iterator[tuple[Any, bytes]]:
    """The stream with its errors as Flight's."""
    try:
        yield from stream
    except GeneratorExit:
        raise
    except Gone:
        return
    except BaseException as error:
        raise to_wire(error) from None


def _flight_server(calls: _Calls, location: str, tls: list[tuple[bytes, bytes]], middleware: dict[str, Any]) -> Any:
    class FlightServer(flight.FlightServerBase):  # type: ignore[misc]
        """Flight's calls; it listens as soon as it is made."""

        def get_flight_info(self, context: Any, descriptor: Any) -> Any:
            try:
                request = Request.from_bytes(descriptor.command or b"")
                relation = calls.find(request)
                ticket = flight.Ticket(_promised(request, relation).to_bytes())
                return flight.FlightInfo(relation.arrow, descriptor, [flight.FlightEndpoint(ticket, [])], -1, -1)
            except Exception as error:
                raise to_wire(error) from None

        def get_schema(self, context: Any, descriptor: Any) -> Any:
            return flight.SchemaResult(self.get_flight_info(context, descriptor).schema)

        def do_get(self, context: Any, ticket: Any) -> Any:
            try:
                request = Request.from_bytes(ticket.ticket)
                relation = calls.find(request)
                stream = calls.stream(request, relation, lambda: not context.is_cancelled())
                return flight.GeneratorStream(relation.arrow, _wired(stream))
            except Exception as error:
                raise to_wire(error) from None

        def list_actions(self, context: Any) -> list[tuple[str, str]]:
            return [(STATUS, "What the service holds, as JSON.")]

        def do_action(self, context: Any, action: Any) -> Iterator[bytes]:
            if action.type != STATUS:
                raise to_wire(InvalidInput(f"there is no action {action.type!r}"))
            return iter([json.dumps(calls.status()).encode()])

    return FlightServer(location, tls_certificates=tls, middleware=middleware)


def _promised(request: Request, relation: Relation) -> Request:
    return replace(request, structure=relation.structure)
