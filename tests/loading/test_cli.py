"""The command line and the shell script's own: help, exit codes, one line per error."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from tests.loading.conftest import FRAPPE_FIELDS, ROOT, Database, made_lines, write_dataset
from trails import __version__
from trails.cli import main


def _error(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if line.startswith("trails: error: ")]
    assert len(lines) == 1 and captured.err.endswith(lines[0] + "\n") and captured.out == ""
    return lines[0]


def test_a_load_prints_its_source_and_its_tables(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dataset(tmp_path / "frappe")
    monkeypatch.setenv("TRAILS_DATA", str(tmp_path))
    monkeypatch.setenv("TRAILS_DSN", database.uri)
    assert main(["load", "frappe"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "".join(f"public.frappe_{s}\t3\tcreated\n" for s in ("train", "valid", "test"))
    assert captured.err.splitlines()[0] == f"frappe: from TRAILS_DATA ({tmp_path})"
    assert "frappe_valid: 3 rows in " in captured.err
    script = database.script(tmp_path, "frappe")
    assert script.stdout == captured.out.replace("created", "refilled")


def test_all_options_together(database: Database, tmp_path: Path) -> None:
    database.sql("create schema s")
    folder = write_dataset(tmp_path)
    arguments = ["load", "mine", "--dir", str(folder), "--dsn", database.uri, "--schema", "s", "--as-text"]
    done = subprocess.run(
        [sys.executable, "-m", "trails", *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT / "python")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("s.mine_train\t3\tcreated\n")
    assert database.sql("select col10 from s.mine_test where id = 1") == [("5201:1",)]


def test_libpqs_environment_is_used_without_a_dsn(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg2.extensions

    for name, value in psycopg2.extensions.parse_dsn(database.uri).items():
        monkeypatch.setenv({"dbname": "PGDATABASE"}.get(name, f"PG{name.upper()}"), str(value))
    assert main(["load", "frappe", "--dir", str(write_dataset(tmp_path))]) == 0
    assert database.sql("select count(*) from frappe_train") == [(3,)]


def test_bad_input_ends_with_2(database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_dataset(tmp_path, test=["1 oops"])
    assert main(["load", "x", "--dir", str(folder), "--dsn", database.uri]) == 2
    assert _error(capsys) == f"trails: error: {folder}/test.libsvm:1: too few fields: 1 instead of 10"
    assert main(["load", "x", "--dir", str(tmp_path / "none")]) == 2
    assert "does not hold the dataset x; A folder holds train.libsvm" in _error(capsys)
    assert main(["load", "a/b"]) == 2
    assert "not a dataset's name: 'a/b'" in _error(capsys)


def test_other_errors_end_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(write_dataset(tmp_path))
    assert main(["load", "x", "--dir", folder, "--dsn", "host=127.0.0.1 port=1 dbname=x"]) == 1
    assert "refused" in _error(capsys)
    assert main(["load", "x", "--dir", folder, "--dsn", "no such thing"]) == 1
    assert "invalid" in _error(capsys) or "missing" in _error(capsys)


def test_arguments_that_do_not_exist_end_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["fly"], ["load"], ["load", "x", "--wrong"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
    assert "usage: trails load" in capsys.readouterr().err


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, words in (
        (["--version"], [f"trails {__version__}"]),
        (["--help"], ["load", "load a dataset into PostgreSQL tables"]),
        (["load", "--help"], ["--as-text", "--schema", "TRAILS_DATA", "examples:", "exit status"]),
    ):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 0
        out = capsys.readouterr().out
        assert all(word in out for word in words)


def test_a_substitute_is_taken_only_when_asked_for(
    database: Database, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["load", "unheard_of", "--dsn", database.uri]) == 1
    assert "unheard_of cannot be downloaded: no public home of it is known" in _error(capsys)
    assert main(["load", "unheard_of", "--dsn", database.uri, "--substitute"]) == 0
    captured = capsys.readouterr()
    assert "taking breast_cancer instead" in captured.err
    assert captured.out.startswith("public.breast_cancer_train\t398\tcreated\n")


def test_in_a_terminal_there_is_a_bar(database: Database, tmp_path: Path) -> None:
    folder = write_dataset(tmp_path, made_lines(FRAPPE_FIELDS, 20_000))
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(ours, (25, 100))
    process = subprocess.Popen(
        [sys.executable, "-m", "trails", "load", "x", "--dir", str(folder), "--dsn", database.uri],
        env=os.environ | {"PYTHONPATH": str(ROOT / "python"), "TERM": "xterm"},
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # how Linux says that the other end is closed
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    assert process.wait() == 0
    assert b"x_train:   0%" in shown and b"x_test: 20,000 rows in" in shown


def test_the_scripts_help_and_errors(database: Database, tmp_path: Path) -> None:
    shown = database.script("--help")
    assert shown.returncode == 0 and "usage: load_data_to_db.sh" in shown.stdout
    for arguments, words in (
        ((), "usage:"),
        (("a",), "usage:"),
        (("--wrong", "a", "b"), "unknown option --wrong"),
        (("--schema",), "--schema needs a value"),
        ((tmp_path, "x"), "train.libsvm (or .xz, .gz) is not in"),
        ((tmp_path, "a/b"), "not a dataset's name: 'a/b'"),
    ):
        done = database.script(*arguments)
        assert done.returncode == 2 and words in done.stderr
    folder = write_dataset(tmp_path)
    done = database.script(folder, "x", "host=127.0.0.1 port=1 dbname=x")
    assert done.returncode == 1 and "nothing was loaded" in done.stderr
