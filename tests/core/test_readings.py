"""Numbers, dates and times stored as text: which texts are read, which columns, and what is learnt of them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.spelt import FILE, corpus
from trails.errors import InvalidInput
from trails.limits import MOST_SPELLINGS
from trails.model.onnx_inputs import inputs_of
from trails.table.columns import Column, Columns
from trails.table.encoder import Encoder
from trails.table.fitting import Fitting
from trails.table.frames import column_of
from trails.table.readings import READINGS, family_of, kind_of, poll, said
from trails.table.texts import TextBuilder, text_column
from trails.table.useless import useless_features
from trails.training.options import parse_options


def found(texts: list[str | None]) -> Column:
    return text_column("c", texts, reading="found")


def test_the_file_that_both_languages_read_is_what_the_rules_say() -> None:
    assert json.loads(FILE.read_text()) == corpus(), "python -m tests.core.spelt writes it"


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e14, max_value=1e14))
def test_numbers_come_back_however_they_are_grouped(number: float) -> None:
    number = round(number, 3)
    assert said("number", f"{number:,.3f}") == number == said("number", f" {number:.3f} €")
    swapped = f"{number:,.3f}".translate(str.maketrans(",.", ".,"))
    assert said("number with comma", swapped) == number
    assert said("number", str(number)) == number


@given(st.dates(), st.times())
def test_moments_come_back_in_every_order(day: object, clock: object) -> None:
    moment = np.datetime64(f"{day}T{clock}", "us")
    micros = int((moment - np.datetime64("2000-01-01", "us")).astype(np.int64))
    days = int((np.datetime64(day, "D") - np.datetime64("2000-01-01", "D")).astype(np.int64))  # type: ignore[call-overload]
    year, month, of_month = f"{day}".split("-")
    assert said("timestamp ymd", f"{day} {clock}") == said("timestamp ymd", f"{day}T{clock}Z") == micros
    assert (
        said("date dmy", f"{int(of_month)}/{int(month)}/{year}")
        == days
        == said("date dmy", f"{of_month}.{month}.{year}")
    )
    assert said("date mdy", f"{int(month)}-{int(of_month)}-{year}") == days


@given(st.text(max_size=80))
def test_no_text_is_trouble(text: str) -> None:
    for reading in READINGS:
        value = said(reading, text)
        assert value is None or np.isfinite(value)
    poll([text])


def test_a_column_of_prices_is_one_of_numbers_and_the_rest_is_null() -> None:
    prices: list[str | None] = [f"{n},{n % 1000:03d}.50" for n in range(1, 60)]
    column = found([*prices, "N/A", None, " ", "free"])
    assert (column.kind, column.reading, column.texts) == ("float64", "number", None)
    assert column.data[:2].tolist() == [1001.5, 2002.5]
    assert column.nulls is not None and column.nulls.tolist() == [0] * 59 + [1] * 4
    encoder = Encoder.fit(Columns(63, (column,)))
    assert [(part.kind, part.encoding, part.reading) for part in encoder.parts] == [
        ("number", "interpolated", "number")
    ]


@pytest.mark.parametrize(
    ("texts", "kind", "parts"),
    [
        ([f"{1 + n % 28}/{1 + n % 12}/2021" for n in range(200)], "date", ["value", "month", "weekday"]),
        (
            [f"2021-03-{1 + n % 28:02d} {n % 24}:15" for n in range(200)],
            "timestamp",
            ["value", "month", "weekday", "hour"],
        ),
        ([f"{n % 24}:{n % 60:02d}" for n in range(200)], "time", ["value"]),
        ([f"{1 + n % 12}/{1 + n % 12}/2021" for n in range(200)], "text", ["value"]),
        ([f"{n:05d}" for n in range(200)], "text", ["value"]),
        ([str(n % 5) for n in range(200)], "text", ["value"]),
    ],
)
def test_columns_become_the_fields_of_what_their_texts_say(
    texts: list[str | None], kind: str, parts: list[str]
) -> None:
    column = found(texts)
    assert column.kind == kind
    assert [part.part for part in Encoder.fit(Columns(200, (column,))).parts] == parts


def test_texts_that_are_too_many_to_be_kept_are_read_as_they_come() -> None:
    rows = MOST_SPELLINGS + 5_000
    texts = [f"{n}.25" for n in range(rows)]
    column = found([*texts, "none", "many"])
    assert column.reading == "number" and np.array_equal(column.data[:rows], np.arange(rows) + 0.25)
    assert column.nulls is not None and np.flatnonzero(column.nulls).tolist() == [rows, rows + 1]
    mixed = found([*texts[:MOST_SPELLINGS], *(f"x{n}" for n in range(20_000))])
    assert mixed.kind == "text", "of all rows too few are numbers"


def test_late_texts_take_room_by_the_row_alone() -> None:
    builder = TextBuilder("c", None, "found")
    for begin in range(0, MOST_SPELLINGS + 40_000, 10_000):
        texts = [f"{n}.5 $" for n in range(begin, begin + 9_999)]
        nulls = np.zeros(10_000, np.bool_)
        nulls[7] = True
        builder.add(texts, np.arange(10_000) % 9_999, nulls)
    held = [part for part in vars(builder).values() if isinstance(part, dict) and part is not vars(builder)["_known"]]
    assert all(len(part) <= MOST_SPELLINGS for part in held), "nothing is kept by text"
    absent = np.tile(np.arange(10_000) == 7, 11).astype(np.uint8)
    column = builder.finish(absent)
    assert column.reading == "number" and np.array_equal(column.nulls, absent)
    numbers = np.concatenate([begin + np.arange(10_000) % 9_999 + 0.5 for begin in range(0, 110_000, 10_000)])
    assert np.array_equal(column.data, np.where(absent, 0, numbers))


def test_batches_make_no_difference() -> None:
    texts = [f"{n % 70},5" for n in range(300)]
    builder = TextBuilder("c", None, "found")
    for begin in range(0, 300, 50):
        part = texts[begin : begin + 50]
        builder.add(sorted(set(part)), np.array([sorted(set(part)).index(text) for text in part]), None)
    column = builder.finish(None)
    assert column.reading == "number with comma" and np.array_equal(column.data, found(list(texts)).data)


def test_a_known_reading_reads_few_texts_as_well() -> None:
    column = column_of("c", np.array(["7", "seven", None], object), "number")
    assert column.data.tolist() == [7.0, 0.0, 0.0] and column.nulls is not None and column.nulls.tolist() == [0, 1, 1]
    trained = Encoder.fit(Columns(90, (found([str(n) for n in range(90)]),)))
    same = trained.transform(Columns(3, (text_column("c", ["7", "seven", None]),)))
    assert np.array_equal(same.ids, trained.transform(Columns(3, (column,))).ids), "texts are read by the model, too"
    number = trained.transform(Columns(1, (column_of("c", np.array([7.0])),)))
    assert np.array_equal(number.ids, same.ids[:1]), "and so are real numbers"


def test_texts_whose_spelling_is_gone_cannot_be_read() -> None:
    trained = Encoder.fit(Columns(90, (found([str(n) for n in range(90)]),)))
    with pytest.raises(InvalidInput, match="not all of them are at hand"):
        trained.transform(Columns(1, (Column("c", "text", np.array([5], np.int64)),)))


def test_keys_that_are_stored_as_text_cannot_help() -> None:
    keys, prices = found([str(100_000 + 7 * n) for n in range(200)]), found([f"{n}.5" for n in range(200)])
    assert useless_features([keys]) == {"c": "different in every row"} and useless_features([prices]) == {}
    some = found([*(str(100_000 + 7 * n) for n in range(200)), "N/A", "N/A"])
    assert useless_features([some]) == {"c": "different in every row"}, "what is missing makes no key less of one"
    few = replace(some, nulls=(np.arange(202) >= 30).astype(np.uint8))
    assert useless_features([few]) == {}, "whether it is there says something"


def test_what_is_named_a_text_must_be_one() -> None:
    number = found([str(n) for n in range(90)])
    columns = Columns(90, (number,))
    for option in ("texts", "id_values"):
        with pytest.raises(InvalidInput, match=option):
            Fitting(**{option: ("c",)}).check(columns)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput) as caught:
        Fitting(numbers=("c",)).check(columns)
    assert "texts" in f"{caught.value.hint}"
    Fitting(texts=("c",)).check(Columns(1, (text_column("c", ["1"]),)))
    with pytest.raises(InvalidInput, match="among numbers and among texts"):
        parse_options({"texts": ["a"], "numbers": ["a"]})


def test_a_stored_encoder_has_its_readings() -> None:
    day = replace(found([f"2021-03-{1 + n % 28:02d}" for n in range(90)]), name="day")
    price = replace(found([f"${n}" for n in range(90)]), name="price")
    encoder = Encoder.fit(Columns(90, (day, price)))
    assert encoder.readings == {"day": "date ymd", "price": "number"}
    described = encoder.describe()
    assert Encoder.restore(described, encoder.tensors()).readings == encoder.readings
    assert [(put.kind, put.describe()["reading"]) for put in inputs_of(encoder)] == [
        ("date", "date ymd"),
        ("number", "number"),
    ]
    for wrong in ("time", "roman", 7):
        with pytest.raises(ValueError, match=r"read|text"):
            Encoder.restore([described[0] | {"reading": wrong}, *described[1:]], encoder.tensors())
    for reading in READINGS:
        assert kind_of(reading) in ("float64", family_of(reading))


def test_dates_of_many_rows_each_have_a_knot_for_every_day() -> None:
    days = np.repeat(np.arange(0, 300, 3, dtype=np.int32), 10)
    value = Encoder.fit(Columns(1_000, (Column("day", "date", days),))).parts[0]
    assert value.encoding == "interpolated" and value.edges.tolist() == list(range(0, 300, 3))
    few = Encoder.fit(Columns(999, (Column("day", "date", days[:-1]),))).parts[0]
    assert len(few.edges) <= 33
