"""Loading into PostgreSQL, from Python and from the shell script, and what stays when it fails."""

from __future__ import annotations

import lzma
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.loading.conftest import (
    COMPRESS,
    FRAPPE_FIELDS,
    FRAPPE_LINES,
    Database,
    made_lines,
    write_dataset,
)
from tests.loading.malformed_lines import MALFORMED
from trails.errors import InvalidInput, TrailsError
from trails.loading.connection import DatabaseError
from trails.loading.copy import load
from trails.loading.fields import Fields
from trails.loading.libsvm import MalformedLine
from trails.loading.sources import find_dataset

STRANGE = Fields.consecutive(
    ("plain", "Upper Case", 'quo"te', "it's", "größe 東京", "back\\slash", ":colon", "%percent", "select"),
    (3,) * 9,
)

Load = Callable[..., None]


class Refused(Exception):
    """A load that failed, with what it said."""


def _python(database: Database, folder: Path, name: str, **options: Any) -> None:
    try:
        load(find_dataset(name, folder), database.uri, **options)
    except TrailsError as error:
        raise Refused(f"{error}\n{error.detail}") from error


def _shell(database: Database, folder: Path, name: str, **options: Any) -> None:
    arguments = ["--as-text"] if options.get("as_text") else []
    arguments += ["--schema", options["schema"]] if options.get("schema") else []
    done = database.script(*arguments, "--", str(folder), name)
    if done.returncode:
        raise Refused(done.stderr)


@pytest.fixture(params=[_python, _shell], ids=["python", "shell"])
def loader(request: pytest.FixtureRequest, database: Database) -> Load:
    """The two loaders, which must do the same."""

    def call(folder: Path, name: str = "frappe", **options: Any) -> None:
        request.param(database, folder, name, **options)

    return call


def _labels(database: Database, table: str = "frappe_train") -> list[int]:
    return [row[0] for row in database.sql(f'select label from "{table}" order by id')]


def test_rows_become_integers_in_the_order_of_the_file(loader: Load, database: Database, tmp_path: Path) -> None:
    loader(write_dataset(tmp_path, valid=FRAPPE_LINES[:1], test=FRAPPE_LINES[1:]))
    rows = database.sql("select * from frappe_train order by id")
    assert rows[0] == (1, 0, 111, 1022, 5041, 5048, 5054, 5056, 5059, 5061, 5079, 5201)
    assert [row[:3] for row in rows] == [(1, 0, 111), (2, 1, 22), (3, 1, 956)]
    assert database.sql("select id, label from frappe_valid union all select id, label from frappe_test") == [
        (1, 0),
        (1, 1),
        (2, 1),
    ]
    columns = database.sql(
        """select attname::text, format_type(atttypid, atttypmod), attnotnull from pg_attribute
           where attrelid = 'frappe_train'::regclass and attnum > 0 order by attnum"""
    )
    expected = [("id", "integer", True), ("label", "integer", True)]
    assert columns == [*expected, *((name, "integer", False) for name in FRAPPE_FIELDS.names)]
    assert database.sql(
        "select pg_get_constraintdef(oid), conname::text from pg_constraint "
        "where contype = 'p' and connamespace = 'public'::regnamespace order by oid"
    ) == [("PRIMARY KEY (id)", f"frappe_{split}_pkey") for split in ("train", "valid", "test")]
    assert database.sql("select reltuples from pg_class where relname = 'frappe_train'") == [(3.0,)]


def test_the_published_form_is_text(loader: Load, database: Database, tmp_path: Path) -> None:
    loader(
        write_dataset(tmp_path, ["1 0:1 3:0.5", "0 2:-1e3 4:.25"], Fields.consecutive(("a", "b"), (3, 2))),
        as_text=True,
    )
    assert database.sql("select id, label, col1, col2 from frappe_test order by id") == [
        (1, 1, "0:1", "3:0.5"),
        (2, 0, "2:-1e3", "4:.25"),
    ]
    assert {row[4] for row in database.structure()} == {"integer", "text"}


@pytest.mark.parametrize("suffix", ["", ".xz", ".gz"])
def test_files_may_be_compressed_and_end_their_lines_with_cr_lf(
    loader: Load, database: Database, tmp_path: Path, suffix: str
) -> None:
    folder = write_dataset(tmp_path)
    compress = COMPRESS[suffix]
    content = (folder / "train.libsvm").read_bytes().replace(b"\n", b"\r\n").removesuffix(b"\r\n")
    (folder / "train.libsvm").unlink()
    (folder / f"train.libsvm{suffix}").write_bytes(compress(content))
    loader(folder)
    assert _labels(database) == [0, 1, 1]


def test_without_fields_columns_are_numbered(loader: Load, database: Database, tmp_path: Path) -> None:
    loader(write_dataset(tmp_path / "mine", ["1 9:1 4:1", "0 2147483647:1 0:1"], None).parent, "mine")
    assert database.sql("select col1, col2 from mine_valid order by id") == [(9, 4), (2147483647, 0)]


def test_names_are_quoted_everywhere(loader: Load, database: Database, tmp_path: Path) -> None:
    name, schema = 'it\'s "Größe" \\:x %s', "Sche\"ma '東' :y"
    database.sql('create schema "Sche""ma \'東\' :y"')
    for _ in range(2):
        loader(write_dataset(tmp_path, made_lines(STRANGE, 20), STRANGE), name, schema=schema)
    columns = database.sql(
        """select attname::text from pg_attribute a join pg_class c on c.oid = attrelid
           join pg_namespace n on n.oid = relnamespace
           where relname = %s and nspname = %s and attnum > 0 order by attnum""",
        (f"{name}_valid", schema),
    )
    assert [column for (column,) in columns] == ["id", "label", *STRANGE.names]


def test_the_two_loaders_leave_the_same_tables(database: Database, tmp_path: Path) -> None:
    rows: dict[str, Any] = {
        split: made_lines(STRANGE, 500, seed) for seed, split in enumerate(("train", "valid", "test"))
    }
    folder = write_dataset(tmp_path, fields=STRANGE, **rows)
    for text in (False, True):
        seen = []
        for schema, loader in (("python", _python), ("shell", _shell)):
            database.sql(f"drop schema if exists {schema} cascade; create schema {schema}")
            loader(database, folder, "made", schema=schema, as_text=text)
            contents = [
                database.sql(f"select t::text from {schema}.made_{split} t order by id")
                for split in ("train", "valid", "test")
            ]
            assert [len(rows) for rows in contents] == [500] * 3
            seen.append((database.structure(schema), contents))
        assert seen[0] == seen[1]


def test_the_shell_script_gives_the_same_reasons(database: Database, tmp_path: Path) -> None:
    wrong = []
    for line, reason in MALFORMED.values():
        folder = write_dataset(tmp_path, valid=[*FRAPPE_LINES, line, *FRAPPE_LINES])
        done = database.script(folder, "frappe")
        said = f"{folder}/valid.libsvm:4: {reason}\n" in done.stderr
        if not said or done.returncode != 2 or done.stdout:
            wrong.append((line, reason, done))
    assert wrong == []
    assert database.structure() == []


def test_a_malformed_fields_file_gets_the_same_words_from_both(database: Database, tmp_path: Path) -> None:
    folder = write_dataset(tmp_path, ["1 0:1"], None)
    header = "field\tfirst_id\tn_values\n"
    for text in (
        "nonsense\n",
        header,
        f"{header}a\t0\n",
        f"{header}a\t0\t1\na\t1\t1\n",
        f"{header}label\t0\t1\n",
        f"{header}a\t-1\t1\n",
        f"{header}a\t0\t0\n",
        f"{header}a\t2147483647\t2\n",
    ):
        (folder / "fields.tsv").write_text(text)
        with pytest.raises(MalformedLine) as caught:
            find_dataset("x", folder)
        done = database.script(folder, "x")
        assert done.returncode == 2 and f"{caught.value}\n" in done.stderr
    assert database.structure() == []


@pytest.mark.parametrize("split", ["train", "test"])
def test_nothing_changes_when_a_line_is_malformed(loader: Load, database: Database, tmp_path: Path, split: str) -> None:
    bad: dict[str, Any] = {split: [*made_lines(FRAPPE_FIELDS, 30_000), "0 1:1"]}
    with pytest.raises(Refused, match=rf"{split}\.libsvm:30001: too few fields: 1 instead of 10"):
        loader(write_dataset(tmp_path / "bad", **bad))
    assert database.structure() == []
    loader(write_dataset(tmp_path / "good"))
    before = database.structure()
    with pytest.raises(Refused):
        loader(tmp_path / "bad")
    assert database.structure() == before and _labels(database) == [0, 1, 1]


@pytest.mark.parametrize("damage", ["empty", "cut"])
def test_nothing_changes_when_a_file_is_empty_or_cut(
    loader: Load, database: Database, tmp_path: Path, damage: str
) -> None:
    folder = write_dataset(tmp_path)
    (folder / "test.libsvm").unlink()
    data = lzma.compress("\n".join(made_lines(FRAPPE_FIELDS, 5000)).encode())
    if damage == "empty":
        (folder / "test.libsvm").touch()
    else:
        (folder / "test.libsvm.xz").write_bytes(data[: len(data) // 2])
    with pytest.raises(Refused, match=r"test\.libsvm( holds no line|\.xz)"):
        loader(folder)
    assert database.structure() == []


def test_a_second_load_keeps_views_rights_and_the_table_itself(
    loader: Load, database: Database, tmp_path: Path
) -> None:
    folder = write_dataset(tmp_path)
    loader(folder)
    database.sql("create view seen as select label from frappe_train")
    database.sql('create index by_user on frappe_train ("user")')
    database.sql("grant select on frappe_train to pg_monitor")
    (before,) = database.sql("select oid, relacl::text from pg_class where relname = 'frappe_train'")
    loader(write_dataset(tmp_path, train=made_lines(FRAPPE_FIELDS, 50)))
    assert database.sql("select oid, relacl::text from pg_class where relname = 'frappe_train'") == [before]
    assert database.sql("select count(*) from seen") == [(50,)]
    assert database.sql("select count(*) from pg_index where indrelid = 'frappe_train'::regclass") == [(2,)]


def test_other_columns_make_a_new_table(loader: Load, database: Database, tmp_path: Path) -> None:
    loader(write_dataset(tmp_path / "one"))
    loader(write_dataset(tmp_path / "two", ["1 0:1"], Fields.consecutive(("only",), (1,))))
    assert database.sql("select * from frappe_train") == [(1, 1, 0)]
    loader(tmp_path / "two", as_text=True)
    assert database.sql("select * from frappe_train") == [(1, 1, "0:1")]
    leftovers = database.sql("select relname from pg_class where relname like 'trails_load%'")
    assert leftovers == []


def test_a_view_on_a_table_that_must_change_is_named_and_kept(loader: Load, database: Database, tmp_path: Path) -> None:
    loader(write_dataset(tmp_path))
    database.sql("create view dependent as select city from frappe_test")
    before = database.structure()
    with pytest.raises(Refused, match=r"cannot drop table frappe_test[\s\S]*view dependent depends on"):
        loader(tmp_path, as_text=True)
    assert database.structure() == before and len(_labels(database, "frappe_test")) == 3


def test_what_is_not_a_table_is_not_touched(loader: Load, database: Database, tmp_path: Path) -> None:
    database.sql("create view frappe_valid as select 1 as one")
    with pytest.raises(Refused, match=r"public\.frappe_valid exists and is not an ordinary table"):
        loader(write_dataset(tmp_path))
    assert [row[0] for row in database.structure()] == ["frappe_valid"]


def test_the_schema_is_the_first_of_the_search_path(loader: Load, database: Database, tmp_path: Path) -> None:
    name = database.uri.rpartition("/")[2]
    database.sql(f"create schema first; alter database {name} set search_path to missing, first, public")
    loader(write_dataset(tmp_path))
    assert database.sql("select schemaname::text from pg_tables where tablename = 'frappe_train'") == [("first",)]
    with pytest.raises(Refused, match="there is no schema"):
        loader(tmp_path, schema="absent")


@pytest.mark.parametrize("change", ["rows", "columns"])
@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
def test_a_reader_sees_the_old_rows_or_the_new_ones(
    loader: Load, database: Database, tmp_path: Path, change: str, isolation: str
) -> None:
    """Counts without a pause while the table is replaced again and again."""
    old = write_dataset(tmp_path / "old", made_lines(FRAPPE_FIELDS, 4000))
    new = write_dataset(tmp_path / "new", made_lines(FRAPPE_FIELDS, 6000))
    loader(old)
    counts: set[int] = set()
    wrong: list[BaseException] = []
    done = threading.Event()

    def read() -> None:
        connection = database.connect()
        try:
            with connection.cursor() as cursor:
                while not done.is_set():
                    cursor.execute(f"begin isolation level {isolation}; select 1 from pg_am")  # the snapshot
                    time.sleep(0.01)
                    cursor.execute("select count(*) from frappe_train")
                    counts.add(cursor.fetchone()[0])
                    cursor.execute("commit")
        except BaseException as error:
            wrong.append(error)
        finally:
            connection.close()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for round_ in range(2):
            loader(new, as_text=change == "columns" and round_ % 2 == 0)
            loader(old)
    finally:
        done.set()
        reader.join()
    assert not wrong, wrong
    assert counts <= {4000, 6000} and 4000 in counts


def test_a_load_that_is_under_way_is_not_seen(database: Database, tmp_path: Path) -> None:
    load(find_dataset("frappe", write_dataset(tmp_path / "old")), database.uri)
    bigger = made_lines(FRAPPE_FIELDS, 10)
    seen: list[list[Any]] = []

    class Watching:
        """Looks from another session between two tables of the load."""

        def start(self, table: str, total_bytes: int) -> None:
            if table == "frappe_train":
                return
            connection = database.connect()
            with connection, connection.cursor() as cursor:
                cursor.execute("set lock_timeout = '200ms'")
                try:
                    cursor.execute("select count(*) from frappe_train")
                    seen.append(cursor.fetchall())
                except Exception as error:
                    seen.append([type(error).__name__])
            connection.close()

        def advance(self, rows: int, consumed_bytes: int) -> None: ...

        def finish(self, rows: int, seconds: float) -> None: ...

        def note(self, text: str) -> None: ...

    load(find_dataset("frappe", write_dataset(tmp_path / "new", bigger)), database.uri, progress=Watching())
    # The reader waits for the table that is being refilled; it never counts a part of it.
    assert seen == [["LockNotAvailable"]] * 2
    load(find_dataset("frappe", tmp_path / "old"), database.uri, as_text=True, progress=Watching())
    assert seen[2:] == [["LockNotAvailable"]] * 2


def test_two_loads_at_once_both_succeed(loader: Load, database: Database, tmp_path: Path) -> None:
    folders = [write_dataset(tmp_path / str(n), made_lines(FRAPPE_FIELDS, n)) for n in (2000, 3000)]
    wrong: list[BaseException] = []

    def run(folder: Path) -> None:
        try:
            loader(folder)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=run, args=(folder,)) for folder in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, wrong
    tables = [f"frappe_{split}" for split in ("train", "valid", "test")]
    assert {len(_labels(database, table)) for table in tables} in ({2000}, {3000})


def test_values_that_integer_columns_cannot_hold_are_counted(
    loader: Load, database: Database, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from trails.loading.progress import Lines

    folder = write_dataset(tmp_path, ["1 0:1 3:0.5", "0 2:1.0 4:7"], Fields.consecutive(("a", "b"), (3, 2)))
    load(find_dataset("x", folder), database.uri, progress=Lines())
    words = "x_train: 2 values other than 1 are left out: integer columns hold ids only, --as-text keeps"
    assert words in capfd.readouterr().err
    assert words in database.script(folder, "x").stderr
    assert "left out" not in database.script("--as-text", folder, "x").stderr


def test_the_servers_refusal_keeps_its_words_and_sqlstate(database: Database, tmp_path: Path) -> None:
    folder = write_dataset(tmp_path)
    database.sql("drop role if exists loading_guest; create role loading_guest login password 'x'")
    try:
        guest = database.uri.partition("@")[2]
        with pytest.raises(DatabaseError, match="permission denied for schema public") as caught:
            load(find_dataset("frappe", folder), f"postgresql://loading_guest:x@{guest}")
        assert caught.value.sqlstate == "42501"
    finally:
        database.sql("drop role loading_guest")
    with pytest.raises(DatabaseError, match="password authentication failed"):
        load(find_dataset("frappe", folder), f"postgresql://postgres:wrong@{guest}")
    with pytest.raises(InvalidInput, match="there is no schema 'absent'"):
        load(find_dataset("frappe", folder), database.uri, schema="absent")


def test_python_raises_the_malformed_line_itself(database: Database, tmp_path: Path) -> None:
    folder = write_dataset(tmp_path, test=["1 oops"])
    with pytest.raises(MalformedLine) as caught:
        load(find_dataset("frappe", folder), database.uri)
    assert (caught.value.file, caught.value.line) == (str(folder / "test.libsvm"), 1)


def test_an_interrupt_during_the_copy_is_passed_on(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupting:
        def start(self, table: str, total_bytes: int) -> None: ...

        def advance(self, rows: int, consumed_bytes: int) -> None:
            raise KeyboardInterrupt

        def finish(self, rows: int, seconds: float) -> None: ...

        def note(self, text: str) -> None: ...

    with pytest.raises(KeyboardInterrupt):
        load(find_dataset("frappe", write_dataset(tmp_path)), database.uri, progress=Interrupting())
    assert database.structure() == []


def test_breast_cancer_from_scikit_learn_is_loaded(database: Database) -> None:
    dataset = find_dataset("breast_cancer")
    tables = load(dataset, database.uri)
    assert [(t.name, t.rows, t.action) for t in tables] == [
        ("breast_cancer_train", 398, "created"),
        ("breast_cancer_valid", 85, "created"),
        ("breast_cancer_test", 86, "created"),
    ]
    assert database.sql('select count(distinct "mean radius") from breast_cancer_train') == [(10,)]
    assert database.script(dataset.files["train"].parent, "breast_cancer").returncode == 0
