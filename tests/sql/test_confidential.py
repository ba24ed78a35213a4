"""What shows how the server is set up is for those who may see its settings; everybody else is told where it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.sql.stub import Stub
from tests.sql.tables import query
from tools.server import Server

RUN = "SELECT * FROM trails.model_selection('train', 'label', '40 s', validation => 'valid', k => 2, u => 1)"
BEGUN = "rows = receive(); ready(); request = receive(); plan()\n"
IN_THE_LOG = "The server's log has the details."

# What the process does, and what its secret is.
FAULTS = {
    "raising": ("raise ValueError('a secret of the process')", "a secret of the process"),
    "telling": (
        "send('error', message='refinement failed: ValueError: x', sqlstate='XX000', hint='See ' + sys.prefix, "
        "traceback='Traceback of ' + sys.prefix + ': a secret of the traceback')",
        "a secret of the traceback",
    ),
    "talking": ("print('a secret of a library', flush=True); time.sleep(60)", "a secret of a library"),
}


@pytest.fixture
def login(session: Any, connect: Callable[..., Any]) -> Callable[[Path], Any]:
    """Opens sessions of alice, an ordinary user of Trails, whose refinement process comes from an environment."""

    def open_one(environment: Path) -> Any:
        connect(role="alice")
        query(session, "GRANT trails_user TO alice; GRANT SELECT ON train, valid TO alice")
        query(session, f"ALTER ROLE alice SET trails.virtualenv = '{environment}'")
        return connect(role="alice")

    return open_one


def told(connection: Any, statement: str = RUN) -> psycopg2.extensions.Diagnostics:
    with pytest.raises(psycopg2.Error) as caught:
        query(connection, statement)
    return caught.value.diag


def words(diagnostics: psycopg2.extensions.Diagnostics) -> str:
    parts = (diagnostics.message_primary, diagnostics.message_detail, diagnostics.message_hint, diagnostics.context)
    return " ".join(filter(None, parts))


@pytest.mark.parametrize("fault", FAULTS)
def test_only_those_who_may_see_settings_are_told_what_the_process_said(
    session: Any, login: Callable[[Path], Any], stub: Stub, pg: Server, fault: str
) -> None:
    ending, secret = FAULTS[fault]
    stub.script(BEGUN + ending)
    alice = login(stub.path)
    query(alice, "SET client_min_messages = debug5")
    alice.notices.clear()
    diagnostics = told(alice)
    assert diagnostics.message_detail == IN_THE_LOG
    for hidden in (secret, str(stub.path)):
        assert hidden not in words(diagnostics) and not any(hidden in notice for notice in alice.notices)
    assert secret in pg.log.read_text()
    with pytest.raises(psycopg2.Error, match="permission denied"):
        query(alice, "SHOW trails.virtualenv")

    query(session, "GRANT pg_read_all_settings TO alice")
    assert secret in words(told(alice))


def test_a_function_with_its_owners_rights_does_not_show_its_callers_more(
    session: Any, login: Callable[[Path], Any], stub: Stub
) -> None:
    ending, secret = FAULTS["raising"]
    stub.script(BEGUN + ending)
    alice = login(stub.path)
    query(
        session,
        "CREATE FUNCTION wrapped() RETURNS bigint LANGUAGE sql SECURITY DEFINER "
        f"AS $$ SELECT count(*) FROM ({RUN}) r $$;"
        "GRANT EXECUTE ON FUNCTION wrapped TO alice",
    )
    assert secret not in words(told(alice, "SELECT wrapped()"))


def test_warnings_keep_it_to_themselves_too(session: Any, login: Callable[[Path], Any], stub: Stub, pg: Server) -> None:
    ending, secret = FAULTS["raising"]
    stub.script(BEGUN + "(a, _), *_ = request['candidates']; epoch(a, 0, 1, 0.7)\n" + ending)
    alice = login(stub.path)
    assert len(query(alice, RUN)) == 1
    (warning,) = [notice for notice in alice.notices if notice.startswith("WARNING")]
    assert IN_THE_LOG in warning and secret not in warning
    assert secret in pg.log.read_text()
    query(session, "SET trails.virtualenv = %s", str(stub.path))
    query(session, RUN)
    assert any(secret in notice for notice in session.notices)


def test_an_environment_that_is_missing_or_empty_is_not_named(
    session: Any, login: Callable[[Path], Any], tmp_path: Path
) -> None:
    nowhere = Path("/nowhere/environment")
    diagnostics = told(login(nowhere))
    assert diagnostics.sqlstate == "F0000" and str(nowhere) not in words(diagnostics)
    assert "<trails.virtualenv>" in words(diagnostics)


def test_what_python_raises_in_the_backend_is_told_without_its_traceback(
    login: Callable[[Path], Any], stub: Stub, pg: Server
) -> None:
    (bridge,) = stub.path.glob("lib/python3*/site-packages/trails/bridge.py")
    bridge.unlink()
    bridge.write_text("def broken(): raise RuntimeError('a secret in ' + __file__)\nbroken()\n")
    diagnostics = told(login(stub.path))
    assert diagnostics.sqlstate == "38000" and "RuntimeError" in diagnostics.message_primary
    assert diagnostics.message_detail == IN_THE_LOG and str(stub.path) not in words(diagnostics)
    assert "Traceback" in pg.log.read_text() and "in broken" in pg.log.read_text()
