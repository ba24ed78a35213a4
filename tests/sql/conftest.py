"""The sessions that most SQL tests start from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.sql.stub import Stub, stub_environment
from tests.sql.tables import make_pair, query
from tools.server import Server


@pytest.fixture
def session(connect: Callable[..., Any]) -> Any:
    """A superuser's session in a fresh database that holds the tables `train` and `valid`."""
    connection = connect()
    make_pair(connection)
    return connection


@pytest.fixture
def stub(pg: Server) -> Iterator[Stub]:
    """An environment whose refinement process follows a script."""
    assert pg.virtualenv is not None
    with stub_environment(pg.virtualenv) as environment:
        yield environment


@pytest.fixture
def scripted(session: Any, stub: Stub) -> Any:
    """A superuser's session whose refinement processes follow the script of `stub`."""
    query(session, "SET trails.virtualenv = %s", str(stub.path))
    return session
