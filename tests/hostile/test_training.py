"""Tables that other selectors fail on are trained on: few rows, rare classes, texts of every sort, extreme numbers.

Each selection is the smallest that there is: one candidate and two epochs.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.hostile.case import Case, read_cases, run
from tests.hostile.conftest import Sessions
from tests.sql.tables import query

FOLDER = Path(__file__).parent / "training"

REFUSED = read_cases(FOLDER / "refused.sql")

LEARNT = dict(text.split("\n", 1) for text in re.split(r"^-- # ", (FOLDER / "learnt.sql").read_text(), flags=re.M)[1:])

OTHERS = "CREATE TABLE held AS SELECT id, amount, hour, colour AS y FROM base WHERE colour <> 'yellow' AND id < 200"

SELECTION = (
    "SELECT model FROM trails.model_selection('learnt', budget => '20 s', space => 'mlp2x10', k => 1, u => 1,"
    " name => 'learnt', {})"
)

PREDICTED = """
SELECT count(*), count(p.prediction), count(*) FILTER (WHERE p.score IN ('NaN', 'Infinity', '-Infinity')), bool_and({})
FROM (SELECT classes FROM trails.models WHERE name = 'learnt') m, trails.predict('learnt', 'learnt') p
"""


@pytest.mark.parametrize("what", LEARNT)
def test_it_is_learnt(sessions: Sessions, what: str) -> None:
    said = dict(re.findall(r"^-- (arguments|tells|true): (.*)", LEARNT[what], re.MULTILINE))
    table = re.sub(r"^-- .*\n", "", LEARNT[what], flags=re.MULTILINE)
    arguments = [said.get("arguments", "")]
    if "target =>" not in arguments[0]:
        arguments.append("target => 'y'")
    if "options =>" not in arguments[0]:
        arguments.append("""options => '{"max_epochs": 2, "winner": false}'""")
    session = sessions.get("trainer")
    query(session, f"DROP TABLE IF EXISTS learnt, held; {OTHERS}; CREATE TABLE learnt AS {table}")
    query(session, "DELETE FROM trails.models WHERE name = 'learnt'")
    del session.notices[:]
    try:
        assert query(session, SELECTION.format(", ".join(filter(None, arguments)))) == [("learnt@1",)], session.notices
        everything = " ".join(session.notices)
        assert all(word in everything for word in said.get("tells", "").split(", ")), session.notices
        ((wanted,),) = query(session, "SELECT count(*) FROM learnt")
        assert query(session, PREDICTED.format(said.get("true", "true"))) == [(wanted, wanted, 0, True)]
        query(session, "SELECT trails.encoding('learnt')")
        query(session, "SELECT length(trails.export_model('learnt', 'onnx'))")
    finally:
        sessions.assert_up("trainer")


@pytest.mark.parametrize("case", REFUSED, ids=[case.what for case in REFUSED])
def test_it_is_refused(sessions: Sessions, case: Case) -> None:
    try:
        run(sessions.get("trainer"), case)
    finally:
        sessions.assert_up("trainer")
