"""The line checker: what it reads, what it refuses, and that its two ways of reading agree."""

from __future__ import annotations

import pickle
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.loading.arrays import read_arrays
from tests.loading.conftest import COMPRESS, FRAPPE_FIELDS, FRAPPE_LINES, made_lines
from tests.loading.malformed_lines import GOOD, MALFORMED
from trails.errors import UnusableData
from trails.loading import libsvm as module
from trails.loading.fields import Fields, read_fields
from trails.loading.libsvm import MalformedLine, read_blocks


def _file(folder: Path, text: str, name: str = "train.libsvm") -> Path:
    path = folder / name
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return path


def test_labels_and_ids_are_those_of_the_file(tmp_path: Path) -> None:
    labels, ids = read_arrays(_file(tmp_path, "\n".join(FRAPPE_LINES) + "\n"), FRAPPE_FIELDS)
    assert labels.tolist() == [0, 1, 1] and labels.dtype == np.int8
    assert ids.tolist()[2] == [956, 957, 5039, 5052, 5053, 5055, 5058, 5060, 5069, 5149]
    assert ids.dtype == np.int32


@pytest.mark.parametrize("kind", sorted(MALFORMED))
@pytest.mark.parametrize("place", [1, 2, 3])
def test_a_malformed_line_is_named_with_file_line_and_reason(kind: str, place: int, tmp_path: Path) -> None:
    line, reason = MALFORMED[kind]
    lines = [GOOD, GOOD, GOOD]
    lines[place - 1] = line
    path = _file(tmp_path, "\n".join(lines) + "\n")
    with pytest.raises(MalformedLine) as caught:
        list(read_blocks(path, FRAPPE_FIELDS))
    error = caught.value
    assert (error.file, error.line, error.reason) == (str(path), place, reason)
    assert str(error) == f"{path}:{place}: {reason}"
    assert isinstance(error, UnusableData) and error.sqlstate == "22P04"


def test_the_line_number_counts_from_the_start_of_the_file(tmp_path: Path) -> None:
    path = _file(tmp_path, (GOOD + "\n") * 5000 + "7 oops\n")
    with pytest.raises(MalformedLine, match=r"train\.libsvm:5001: the label must be 0 or 1: '7'"):
        list(read_blocks(path, FRAPPE_FIELDS, block_bytes=1000))


def test_the_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(MalformedLine("a file", 7, "a reason")))
    assert (error.file, error.line, error.reason, str(error)) == (
        "a file",
        7,
        "a reason",
        "a file:7: a reason",
    )


@pytest.mark.parametrize(
    "ending", ["\n", "", "\r\n", "\r"], ids=["newline", "nothing", "CR LF", "CR at the end of the file"]
)
def test_line_ends(ending: str, tmp_path: Path) -> None:
    between = "\r\n" if "\r" in ending else "\n"
    labels, ids = read_arrays(_file(tmp_path, between.join(FRAPPE_LINES) + ending), FRAPPE_FIELDS)
    assert labels.tolist() == [0, 1, 1] and ids[0, 0] == 111


@pytest.mark.parametrize("block_bytes", [1, 7, 71, 72, 1 << 20])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_blocks_may_cut_the_file_anywhere(block_bytes: int, ending: str, tmp_path: Path) -> None:
    path = _file(tmp_path, ending.join(FRAPPE_LINES) + ending)
    blocks = list(read_blocks(path, FRAPPE_FIELDS, block_bytes))
    assert b"".join(b.text for b in blocks).decode() == "\n".join(FRAPPE_LINES) + "\n"
    assert [b.first_line for b in blocks] == np.cumsum([1, *(len(b) for b in blocks)])[:-1].tolist()
    assert blocks[-1].consumed == path.stat().st_size


def test_spaces_tabs_and_numbers_of_any_form(tmp_path: Path) -> None:
    path = _file(tmp_path, "1  3:1.5\t4:-2e-3 \n\t0 3:.5 4:7.\n1 3:1.0 4:+1\n")
    (block,) = read_blocks(path, Fields.consecutive(("a", "b"), (4, 1)))
    assert block.labels.tolist() == [1, 0, 1] and block.ids.tolist() == [[3, 4]] * 3
    assert block.text == b"1 3:1.5 4:-2e-3\n0 3:.5 4:7.\n1 3:1.0 4:+1\n"
    assert block.without_values() == b"1 3 4\n0 3 4\n1 3 4\n"
    assert block.other_values == 4


def test_values_that_start_with_1_are_cut_off_whole(tmp_path: Path) -> None:
    (block,) = read_blocks(_file(tmp_path, "1 1:1 2:12\n0 1:13 2:1\n"), Fields.numbered(2))
    assert block.without_values() == b"1 1 2\n0 1 2\n"
    assert block.other_values == 2


def test_without_fields_the_first_line_sets_their_number(tmp_path: Path) -> None:
    assert read_arrays(_file(tmp_path, "1 7:1 3:1\n0 2147483647:1 0:1\n"))[1].tolist() == [
        [7, 3],
        [2147483647, 0],
    ]
    with pytest.raises(MalformedLine, match=":2: too many fields: 3 instead of 2"):
        read_arrays(_file(tmp_path, "1 7:1 3:1\n0 1:1 2:1 3:1\n"))
    with pytest.raises(MalformedLine, match="is outside 0 to 2147483647"):
        read_arrays(_file(tmp_path, "1 2147483648:1\n"))
    for text in ("\n1 2:1\n", "1\n"):
        with pytest.raises(MalformedLine, match=":1: no field"):
            read_arrays(_file(tmp_path, text))


@pytest.mark.parametrize("suffix", ["", ".xz", ".gz"])
def test_compressed_files_read_the_same(suffix: str, tmp_path: Path) -> None:
    text = "\n".join(made_lines(FRAPPE_FIELDS, 3000)) + "\n"
    compress = COMPRESS[suffix]
    (tmp_path / f"a.libsvm{suffix}").write_bytes(compress(text.encode()))
    blocks = list(read_blocks(tmp_path / f"a.libsvm{suffix}", FRAPPE_FIELDS, 10_000))
    assert b"".join(b.text for b in blocks).decode() == text
    assert blocks[-1].consumed == (tmp_path / f"a.libsvm{suffix}").stat().st_size


@pytest.mark.parametrize("suffix", [".xz", ".gz"])
@pytest.mark.parametrize("damage", ["cut", "foreign"])
def test_damaged_compressed_files_are_refused(suffix: str, damage: str, tmp_path: Path) -> None:
    text = "\n".join(made_lines(FRAPPE_FIELDS, 3000)).encode()
    data = COMPRESS[suffix](text)
    path = tmp_path / f"a.libsvm{suffix}"
    path.write_bytes(data[: len(data) // 2] if damage == "cut" else text)
    with pytest.raises(UnusableData, match=rf"a.libsvm\{suffix} is cut or damaged"):
        read_arrays(path, FRAPPE_FIELDS)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnusableData, match="holds no line"):
        read_arrays(_file(tmp_path, ""), FRAPPE_FIELDS)


def test_a_file_without_lines_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_LINE", 1000)
    with pytest.raises(UnusableData, match="a line is longer than 1000 bytes"):
        list(read_blocks(_file(tmp_path, "1" * 5000), FRAPPE_FIELDS, 500))


_TOKENS = st.text(alphabet="0123456789:. -e\t\r", max_size=12)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(st.just("1 3:1 12:1"), st.just("0 0:1 10:5"), _TOKENS), min_size=1, max_size=6))
def test_checking_at_once_accepts_nothing_that_the_line_by_line_check_refuses(lines: list[str]) -> None:
    fields = Fields.consecutive(("a", "b"), (10, 10))
    chunk = "".join(f"{line}\n" for line in lines).encode()
    at_once = module._check_at_once(chunk, fields, 1, 0)
    if at_once is not None:
        by_line = module._check_lines(Path("x"), chunk, fields, 1, 0)
        assert np.array_equal(at_once.ids, by_line.ids) and np.array_equal(at_once.labels, by_line.labels)
        assert (at_once.text, at_once.other_values) == (by_line.text, by_line.other_values)


def test_two_hundred_thousand_lines_take_seconds_not_minutes(tmp_path: Path) -> None:
    path = _file(tmp_path, "\n".join(made_lines(FRAPPE_FIELDS, 200_000)) + "\n")
    started = time.process_time()
    assert read_arrays(path, FRAPPE_FIELDS)[1].shape == (200_000, 10)
    # About 0.3 s on one core; the line-by-line check alone would need ten times as long.
    assert time.process_time() - started < 2.0


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("", 1, "the header"),
        ("field\tfirst\tn\na\t0\t1\n", 1, "the header"),
        ("field\tfirst_id\tn_values\n", 1, "no field"),
        ("field\tfirst_id\tn_values\na\t0\n", 2, "2 tab-separated"),
        ("field\tfirst_id\tn_values\na\t0\t1\n\n", 3, "1 tab-separated"),
        ("field\tfirst_id\tn_values\n\t0\t1\n", 2, "must have 1 to 63 bytes"),
        (f"field\tfirst_id\tn_values\n{'é' * 32}\t0\t1\n", 2, "must have 1 to 63 bytes"),
        ("field\tfirst_id\tn_values\na\t0\t1\na\t1\t1\n", 3, "there twice"),
        ("field\tfirst_id\tn_values\nlabel\t0\t1\n", 2, "belongs to a column"),
        ("field\tfirst_id\tn_values\nid\t0\t1\n", 2, "belongs to a column"),
        ("field\tfirst_id\tn_values\na\t-1\t1\n", 2, "integers of 0 and more"),
        ("field\tfirst_id\tn_values\na\t0\t0\n", 2, "at least one"),
        ("field\tfirst_id\tn_values\na\t2147483647\t2\n", 2, "between 0 and 2147483647"),
        ("field\tfirst_id\tn_values\n\udcff\t0\t1\n", 2, "byte 1 is not UTF-8"),
    ],
)
def test_a_malformed_fields_file_is_refused(text: str, line: int, reason: str, tmp_path: Path) -> None:
    path = _file(tmp_path, text, "fields.tsv")
    with pytest.raises(MalformedLine) as caught:
        read_fields(path)
    assert caught.value.line == line and reason in caught.value.reason


def test_fields_come_back_from_their_file(tmp_path: Path) -> None:
    fields = Fields.consecutive(("plain", 'with "quotes" and space', "größe", "UPPER"), (3, 1, 9, 2))
    assert fields.first_ids == (0, 3, 4, 13)
    assert read_fields(_file(tmp_path, fields.to_tsv(), "fields.tsv")) == fields
    assert read_fields(_file(tmp_path, fields.to_tsv().replace("\n", "\r\n"), "fields.tsv")) == fields
