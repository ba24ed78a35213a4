"""Runs of the catalogue, read for a notebook."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.sql.tables import query
from trails import InvalidInput, Run, TrailsError

RUN = "SELECT * FROM trails.model_selection('train', 'label', '40 s', validation => 'valid', k => 2, u => 1)"


def test_a_role_reads_its_own_runs_and_no_others(session: Any, connect: Callable[..., Any], tmp_path: Path) -> None:
    alice, bob = connect(role="alice"), connect(role="bob")
    query(session, "GRANT trails_user TO alice, bob; GRANT SELECT ON train, valid TO alice, bob")
    with pytest.raises(InvalidInput, match="there is no run that this role may see"):
        Run.read(alice)
    found = query(alice, RUN)
    run = Run.read(alice)
    assert run.leaderboard[0]["architecture"] == found[0][1] and run.facts["budget"] == 40.0
    (number,) = query(alice, "SELECT run_id FROM trails.runs")[0]
    assert run.facts["run_id"] == number and Run.read(alice, number) == run
    assert len(run.trials) == query(alice, "SELECT count(*) FROM trails.trials")[0][0]
    assert f"AUC {run.leaderboard[0]['validation_metric']:.5f}" in repr(run)
    assert str(found[0][1]) in run._repr_html_()
    run.draw(tmp_path / "run")
    assert (tmp_path / "run.svg").stat().st_size > 10_000 and (tmp_path / "run.png").exists()
    with pytest.raises(InvalidInput, match=f"there is no run {number} that this role may see"):
        Run.read(bob, number)
    query(session, "GRANT alice TO bob")
    with pytest.raises(InvalidInput):
        Run.read(bob, number)
    assert Run.read(session, number).facts["owner"] == "alice"


def test_what_the_server_refuses_is_told(session: Any, connect: Callable[..., Any]) -> None:
    stranger = connect(role="stranger")
    with pytest.raises(TrailsError, match="permission denied") as refused:
        Run.read(stranger)
    assert refused.value.sqlstate == "42501"
    session.close()
    with pytest.raises(TrailsError):
        Run.read(session)
