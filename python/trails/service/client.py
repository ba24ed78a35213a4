"""A consumer of the data service: batches as NumPy arrays, or a whole table as `Columns` to train from."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trails.errors import InvalidInput
from trails.service.arrow import flight, pa, pc
from trails.service.errors import ServiceError, from_wire
from trails.service.gather import Gatherer
from trails.service.request import STATUS, Request
from trails.service.tokens import TOKEN_VARIABLE, check_token, find_token
from trails.table.columns import Columns

_GATHERED_ROWS = 1 << 16


@dataclass(frozen=True)
class Batch:
    """Some rows as NumPy arrays.

    Args:
        epoch: Counted from 0.
        first: Number of the first row within the epoch, from 0.
        rows: Number of rows.
        data: Array of each column, shape (rows,): bool; int16, int32 or int64; float32 or float64 (intervals:
            seconds); str objects; datetime64[D]; datetime64[us] (UTC); int64 microseconds of a time. Where NULL: zero,
            an empty text, or NaT.
        nulls: bool, shape (rows,), of the columns that have NULLs in this batch.
        reading: Number of the reading that the rows are of; another one may hold other rows.
    """

    epoch: int
    first: int
    rows: int
    data: dict[str, NDArray[Any]]
    nulls: dict[str, NDArray[np.bool_]]
    reading: int


class DataClient:
    """One connection to a data service. Use it as a context manager.

    Args:
        uri: Such as ``grpc://127.0.0.1:8815``, or ``grpc+tls://...``.
        token: The service's; None: from ``token_file``, else from TRAILS_SERVICE_TOKEN.
        token_file: A file that holds it.
        ca: PEM certificates that the service's is checked against; None for the system's.

    Raises:
        InvalidInput: No token, or something that no service can be at.
    """

    def __init__(
        self, uri: str, token: str | None = None, *, token_file: Path | None = None, ca: bytes | None = None
    ) -> None:
        found = find_token(token, token_file)
        if found is None:
            raise InvalidInput(
                "the data service needs a token", hint=f"Give its file (--token-file), or set {TOKEN_VARIABLE}."
            )
        check_token(found)
        self.uri = uri
        self._options = flight.FlightCallOptions(headers=[(b"authorization", f"Bearer {found}".encode())])
        self.left_out = 0
        """Rows without a target that the last `columns` left out."""
        with self._told():
            self._flight = flight.connect(uri, tls_root_certs=ca)

    def close(self) -> None:
        """End the connection."""
        self._flight.close()

    def __enter__(self) -> DataClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def schema(self, table: str, columns: Sequence[str] | None = None) -> Any:
        """The Arrow schema of a table's stream.

        Raises:
            TrailsError: No such table or column, a type that cannot be streamed, a wrong token, no service.
        """
        return self._info(request_for(table, columns)).schema

    def status(self) -> dict[str, Any]:
        """What the service holds: bytes, their limit, and a row for each reading."""
        with self._told():
            (result,) = self._flight.do_action(flight.Action(STATUS, b""), self._options)
            told: dict[str, Any] = json.loads(result.body.to_pybytes())
            return told

    def record_batches(self, request: Request) -> Iterator[tuple[Any, dict[str, Any]]]:
        """The stream as it comes: Arrow record batches with epoch, first row and reading; at the end of each epoch an
        empty one, with ``end``.

        Raises:
            TrailsError: As `schema`; or the stream broke off.
        """
        info = self._info(request)
        with self._told():
            reader = self._flight.do_get(info.endpoints[0].ticket, self._options)
        ends = 0
        try:
            while True:
                with self._told():
                    try:
                        chunk = reader.read_chunk()
                    except StopIteration:
                        break
                about = json.loads(bytes(chunk.app_metadata))
                ends += bool(about.get("end"))
                yield chunk.data, about
        finally:
            # Tells the service that nobody wants the rest.
            reader.cancel()
        if ends != request.epochs:
            raise ServiceError(
                f"the stream from {self.uri} ended before its time", f"{ends} of {request.epochs} epochs."
            )

    def stream(
        self,
        table: str,
        columns: Sequence[str] | None = None,
        *,
        batch: int = 1024,
        epochs: int = 1,
        shuffle: int = 0,
        seed: int = 0,
        fresh: bool = False,
    ) -> Iterator[Batch]:
        """Batches of a table's rows.

        Args:
            table: A table or view, as in SQL.
            columns: Names, in the order wanted; None for all.
            batch: Rows of a batch; the last one of an epoch may have fewer.
            epochs: How often the rows are sent.
            shuffle: Rows of the buffer within which rows are shuffled; 0 for the table's order.
            seed: Of the shuffling; every epoch has its own order.
            fresh: Whether the table is read anew, whatever the service still holds of it.

        Raises:
            TrailsError: As `record_batches`.
        """
        request = request_for(table, columns, batch, epochs, shuffle, seed, fresh)
        for rows, about in self.record_batches(request):
            if not about.get("end"):
                yield _numpy(rows, about)

    def columns(
        self,
        table: str,
        columns: Sequence[str] | None = None,
        *,
        target: str | None = None,
        like: Columns | None = None,
        fresh: bool = False,
    ) -> Columns:
        """A whole table, to train from.

        Args:
            table: A table or view, as in SQL.
            columns: Names, in the order wanted, the target included; None for all.
            target: Name of the target: rows without it are left out; `left_out` counts them.
            like: Columns whose kinds these must have too, such as those of the training rows.
            fresh: Whether the table is read anew.

        Raises:
            TrailsError: As `record_batches`; or as `trails.service.gather.Gatherer`.
        """
        gatherer: Gatherer | None = None
        for rows, _ in self.record_batches(request_for(table, columns, _GATHERED_ROWS, fresh=fresh)):
            gatherer = gatherer or Gatherer(rows.schema, target, like)
            gatherer.add(rows)
        assert gatherer is not None, "every epoch ends with a batch"
        self.left_out = gatherer.left_out
        return gatherer.finish()

    def _info(self, request: Request) -> Any:
        with self._told():
            return self._flight.get_flight_info(flight.FlightDescriptor.for_command(request.to_bytes()), self._options)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Turns Flight's errors into ours."""
        try:
            yield
        except (pa.ArrowException, OSError) as error:
            raise from_wire(error, self.uri) from None


def read_columns(
    uri: str,
    token: str | None,
    table: str,
    columns: Sequence[str] | None,
    target: str | None,
    *,
    like: Columns | None = None,
    ca: bytes | None = None,
    counted: Callable[[int], None] = lambda left_out: None,
) -> Columns:
    """A whole table from a data service, in place of `Columns.from_fd`; see `DataClient.columns`.

    Args:
        uri: Of the service.
        token: Its token; None: from TRAILS_SERVICE_TOKEN.
        table: A table or view, as in SQL.
        columns: Names, in the order wanted, the target included; None for all.
        target: Name of the target, or None.
        like: Columns whose kinds these must have too.
        ca: PEM certificates that the service's is checked against.
        counted: Told how many rows had no target.

    Raises:
        TrailsError: As `DataClient.columns`.
    """
    with DataClient(uri, token, ca=ca) as client:
        read = client.columns(table, columns, target=target, like=like)
        counted(client.left_out)
        return read


def request_for(
    table: str,
    columns: Sequence[str] | None,
    batch: int = 1024,
    epochs: int = 1,
    shuffle: int = 0,
    seed: int = 0,
    fresh: bool = False,
) -> Request:
    """The request of a stream; see `DataClient.stream`."""
    names = columns if columns is None or isinstance(columns, str) else tuple(columns)
    return Request(table, names, batch, epochs, shuffle, seed, fresh)  # type: ignore[arg-type]


def _empty(kind: Any) -> Any:
    """What stands where NULL is."""
    if pa.types.is_boolean(kind):
        return False
    return "" if pa.types.is_string(kind) else 0


def _numpy(rows: Any, about: dict[str, Any]) -> Batch:
    data: dict[str, NDArray[Any]] = {}
    nulls: dict[str, NDArray[np.bool_]] = {}
    for name, array in zip(rows.schema.names, rows.columns, strict=True):
        if array.null_count:
            nulls[name] = pc.is_null(array).to_numpy(zero_copy_only=False)
        if pa.types.is_time(array.type):
            array = array.view(pa.int64())
        if array.null_count and not pa.types.is_temporal(array.type):
            array = pc.fill_null(array, _empty(array.type))
        data[name] = array.to_numpy(zero_copy_only=False)
    return Batch(about["epoch"], about["first"], rows.num_rows, data, nulls, about["reading"])
