"""The two commands, TLS, addresses and tokens, with services in processes of their own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.service.conftest import ROOT, TOKEN, Database, Process
from tests.timing import within
from trails.cli import main
from trails.data_service_trigger import main as trigger
from trails.errors import InvalidInput, TrailsError
from trails.service import DataClient, DataService
from trails.service.command import address, size

Start = Callable[..., Process]


@pytest.fixture
def numbers(database: Database) -> Database:
    database.sql("CREATE TABLE numbers AS SELECT n, md5(n::text) AS t FROM generate_series(1, 300000) n")
    return database


def test_the_trigger_reads_a_stream_and_says_how_it_came(
    numbers: Database, start_process: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service = start_process("--token-file", tmp_path / "token")
    common = ["--connect", service.uri, "--token-file", str(tmp_path / "token")]
    assert trigger([*common, "--table", "numbers", "--columns", "t,n", "--batch", "4096", "--epochs", "2"]) == 0
    told = capsys.readouterr()
    assert "600000 rows\t148 batches" in told.out and "first batch after" in told.out
    assert "epoch 1 of 2: 300,000 rows" in told.err and "epoch 2 of 2: 300,000 rows" in told.err
    assert trigger([*common, "--status"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert [reading["rows"] for reading in status["readings"]] == [300_000]

    assert trigger([*common, "--table", "nope"]) == 2
    assert "there is no table 'nope'" in capsys.readouterr().err
    assert trigger(common) == 2
    assert "which table" in capsys.readouterr().err
    (tmp_path / "other").write_text("x" * 20)
    assert trigger(["--connect", service.uri, "--token-file", str(tmp_path / "other"), "--table", "numbers"]) == 1
    assert "refuses the token" in capsys.readouterr().err
    assert trigger(["--connect", service.uri, "--table", "numbers"]) == 2
    assert "needs a token" in capsys.readouterr().err
    assert trigger(["--connect", service.uri, "--token-file", str(tmp_path / "absent"), "--table", "numbers"]) == 2
    assert trigger(["--connect", "nonsense", "--token-file", str(tmp_path / "token"), "--table", "numbers"]) == 2


def test_a_service_without_a_token_makes_one_that_only_its_user_can_read(
    numbers: Database, start_process: Start, tmp_path: Path
) -> None:
    service = start_process()
    assert service.process.stderr is not None
    line = service.process.stderr.readline()
    file = Path(line.rsplit(" ", 1)[1].strip())
    assert file.stat().st_mode & 0o777 == 0o600 and file.is_relative_to(tmp_path)
    with DataClient(service.uri, token_file=file) as client:
        assert client.schema("numbers").names == ["n", "t"]


def test_a_killed_service_ends_streams_with_an_error(numbers: Database, start_process: Start, tmp_path: Path) -> None:
    service = start_process("--token-file", tmp_path / "token", "--cache-bytes", "1M")
    with DataClient(service.uri, TOKEN) as client:
        stream = client.stream("numbers", batch=1000)
        next(stream)
        service.process.kill()
        service.process.wait()
        with pytest.raises(TrailsError, match=service.uri) as caught:
            list(stream)
        assert caught.value.sqlstate == "08006"
        with pytest.raises(TrailsError, match="cannot be reached") as caught:
            client.schema("numbers")
        assert caught.value.hint
    # The next one removes what it left.
    left = [path for path in tmp_path.glob("trails-data-service-*")]
    assert len(left) == 1
    start_process("--token-file", tmp_path / "token")
    assert not left[0].exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_service_ends_in_time_although_a_consumer_reads_nothing(
    numbers: Database, start_process: Start, tmp_path: Path, number: int
) -> None:
    service = start_process("--token-file", tmp_path / "token", "--cache-bytes", "1M")
    with DataClient(service.uri, TOKEN) as client:
        stream = client.stream("numbers", batch=1000)
        next(stream)
        began = time.monotonic()
        service.process.send_signal(number)
        assert service.process.wait(60) == 0
        assert within(time.monotonic() - began, 0.0, 10.0)
        assert not list(tmp_path.glob("trails-data-service-*"))
        with pytest.raises(TrailsError):
            list(stream)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of its own for the loopback address, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make a certificate with; as root, make setup installs it: apt-get install openssl")
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        f"{openssl} req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost "
        "-addext subjectAltName=DNS:localhost,IP:127.0.0.1".split(),
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return folder / "cert.pem", folder / "key.pem"


def test_tls_is_checked_by_the_consumer(
    numbers: Database, start_process: Start, tmp_path: Path, certificates: tuple[Path, Path]
) -> None:
    chain, key = certificates
    arguments = ("--token-file", tmp_path / "token", "--tls-cert", chain, "--tls-key", key)
    service = start_process(*arguments, listen="0.0.0.0:0")
    assert service.uri.startswith("grpc+tls://0.0.0.0:")
    uri = service.uri.replace("0.0.0.0", "localhost")
    with DataClient(uri, TOKEN, ca=chain.read_bytes()) as client:
        assert sum(batch.rows for batch in client.stream("numbers", ["n"])) == 300_000
    command = ["--connect", uri, "--token-file", str(tmp_path / "token"), "--table", "numbers", "--tls-ca", str(chain)]
    assert trigger(command) == 0
    with DataClient(uri, TOKEN) as stranger, pytest.raises(TrailsError):
        stranger.schema("numbers")
    with DataClient(uri.replace("+tls", ""), TOKEN) as plain, pytest.raises(TrailsError):
        plain.schema("numbers")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--listen", "0.0.0.0:0"], "no loopback"),
        (["--listen", "8815"], "no address"),
        (["--listen", "127.0.0.1:99999"], "no address"),
        (["--listen", "127.0.0.1:0", "--tls-cert", "cert.pem"], "belong together"),
        (["--listen", "127.0.0.1:0", "--tls-cert", "/no/cert.pem", "--tls-key", "/no/key.pem"], "/no/cert.pem"),
        (["--listen", "127.0.0.1:0", "--token-file", "/no/token"], "/no/token"),
        (["--listen", "192.0.2.1:0", "--insecure"], "cannot listen"),
    ],
)
def test_what_cannot_be_served_is_refused(
    database: Database, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data-service", "--dsn", database.dsn, *arguments]) == 2
    assert words in capsys.readouterr().err
    assert not {signal.SIGINT, signal.SIGTERM} & signal.pthread_sigmask(signal.SIG_BLOCK, ()), "Ctrl-C works again"


def test_short_tokens_and_unreachable_databases_are_refused(database: Database) -> None:
    for token in ("short", "x" * 15, "with a space in it", "ünüsual characters".replace(" ", "_"), "x" * 20 + "\n"):
        with pytest.raises(InvalidInput, match="a token has"):
            DataService(database.dsn, token)
    with pytest.raises(TrailsError) as caught:
        DataService("host=127.0.0.1 port=1 connect_timeout=5", TOKEN)
    assert caught.value.sqlstate == "08000"


def test_an_insecure_service_says_so(database: Database, start_process: Start, tmp_path: Path) -> None:
    service = start_process("--insecure", "--token-file", tmp_path / "token", listen="0.0.0.0:0")
    assert service.uri.startswith("grpc://0.0.0.0:") and service.process.stderr is not None
    assert "without TLS" in service.process.stderr.readline()


def test_sizes_and_addresses_are_read() -> None:
    assert [size(text) for text in ("1", "2k", "512M", "4G")] == [1, 2048, 512 << 20, 4 << 30]
    assert address("[::1]:8815") == ("::1", 8815) and address("localhost:0") == ("localhost", 0)


def test_both_commands_explain_themselves(capsys: pytest.CaptureFixture[str]) -> None:
    for run, arguments, words in (
        (main, ["data-service", "--help"], ("--cache-bytes", "--insecure", "token", "exit status")),
        (trigger, ["--help"], ("--connect", "--shuffle", "exit status")),
    ):
        with pytest.raises(SystemExit) as caught:
            run(arguments)
        assert caught.value.code == 0
        told = capsys.readouterr().out
        assert all(word in told for word in words)


def test_the_command_line_imports_nothing_heavy() -> None:
    code = "import sys, trails.cli, trails.service; print([m for m in ('pyarrow', 'numpy') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT / "python")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
