"""Held-out rows in SQL: filtering does not look at them, and what is odd about them is a WARNING."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from tests.sql.stub import Stub
from tests.sql.tables import query

TRAINS = """
receive(); ready(); request = receive(); plan(k=1)
(a, score) = request["candidates"][0]
epoch(a, 0, 1, 0.8); result([row(a, 0.8, score=score)])
"""


@pytest.mark.parametrize("words", [True, False])
def test_rows_that_a_split_column_holds_out_are_not_looked_at(scripted: Any, stub: Stub, words: bool) -> None:
    # Of the training rows `late` is constant and `key` different in each; of the others it is the other way round.
    query(
        scripted,
        """CREATE VIEW parts AS SELECT label, colour, shape,
             CASE WHEN id % 3 = 0 THEN 5 ELSE id END AS late, CASE WHEN id % 3 = 0 THEN id ELSE 5 END AS key,
             CASE id % 3 WHEN 0 THEN 'train' WHEN 1 THEN 'Valid' ELSE 'test' END AS part, id % 3 AS number
           FROM train""",
    )
    part = "part" if words else "number"
    stub.script(TRAINS)
    scripted.notices.clear()
    query(
        scripted,
        f"""SELECT * FROM trails.model_selection('parts', 'label', budget => '60 s', split => '{part}', tfmem => 'snip',
              features => '{{colour,shape,late,key}}', n => 50, k => 1, u => 1)""",
    )
    told = "".join(scripted.notices)
    assert 'feature "late" is left out: the same in every row' in told
    assert 'feature "key" is left out: different in every row' in told
    rows = stub.requests()[0]
    assert [column["name"] for column in rows["train"]["columns"]] == ["colour", "shape", part, "label"]


def test_a_split_column_that_says_nothing_is_refused_before_anything_is_trained(scripted: Any, stub: Stub) -> None:
    stub.script("receive(); ready(); receive(); time.sleep(60)")
    with pytest.raises(Exception, match='split column "noise" holds something else') as caught:
        query(scripted, "SELECT * FROM trails.model_selection('train', 'label', budget => '60 s', split => 'noise')")
    assert caught.value.pgcode == "22023" and "train, valid and test" not in str(caught.value.diag.message_detail)


@pytest.mark.parametrize("embedding", [10, 32])
def test_filtering_embeds_as_training_will(scripted: Any, stub: Stub, embedding: int) -> None:
    stub.script(TRAINS)
    query(
        scripted,
        f"""SELECT * FROM trails.model_selection('train', 'label', budget => '60 s', validation => 'valid', k => 1,
              u => 1, tfmem => 'params', options => '{{"embedding": {embedding}}}')""",
    )
    architecture, score = stub.requests()[1]["candidates"][0]
    widths = [3 * embedding, *map(int, architecture.split("-")), 1]
    assert score == sum((before + 1) * after for before, after in pairwise(widths))


def test_what_the_process_warns_of_is_a_warning(scripted: Any, stub: Stub) -> None:
    warning = "5 validation rows are left out"
    stub.script(TRAINS.replace("plan(k=1)", f"send('warning', message='{warning}'); plan(k=1)"))
    scripted.notices.clear()
    plan = "budget => '60 s', validation => 'valid', k => 1, u => 1"
    rows = query(scripted, f"SELECT * FROM trails.model_selection('train', 'label', {plan})")
    assert len(rows) == 1 and any(notice.startswith(f"WARNING:  {warning}") for notice in scripted.notices)
