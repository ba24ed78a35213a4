"""The session that most SQL tests start from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.sql.tables import make_pair


@pytest.fixture
def session(connect: Callable[..., Any]) -> Any:
    """A superuser's session in a fresh database that holds the tables `train` and `valid`."""
    connection = connect()
    make_pair(connection)
    return connection
