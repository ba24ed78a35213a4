"""Who gets in, what an answer forbids a browser, and where the connection string is not to be found."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.dashboard.conftest import Database, Start, begin_run, make_watchable
from tests.dashboard.site import ROOT, Site
from trails.dashboard.command import hide

PAGES = ("/", "/runs/1", "/models", "/live", "/static/style.css", "/static/colours.css", "/nothing")


@pytest.mark.parametrize("path", PAGES)
def test_nobody_gets_in_without_the_token(site: Site, path: str) -> None:
    name = f"trails_dashboard_{site.port}"
    for cookie in ("", "trails_dashboard=x", f"{name}=", f"{name}=x", f"{name}={site.token}"):
        assert site.get(path, cookie=cookie).status == 403
    for token in ("x", "", site.token[:-1], f"{site.token}x", "\u00e4".encode().hex()):
        answer = site.get(f"{path}?token={token}", cookie="")
        assert answer.status == 403 and "set-cookie" not in answer.headers


def test_the_token_becomes_a_cookie_that_no_script_and_no_other_page_has(site: Site) -> None:
    answer = site.get(f"/models?name=a%26b&token={site.token}", cookie="")
    assert answer.status == 303 and answer.headers["location"] == "/models?name=a%26b"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and site.token not in cookie
    assert site.get("/").status == 200
    elsewhere = site.get(f"//evil.example/?token={site.token}", cookie="")
    assert elsewhere.headers["location"] == "/evil.example/"


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "", "[evil.example]", "a@127.0.0.1"]
)
def test_names_that_lead_here_from_elsewhere_are_refused(site: Site, host: str) -> None:
    assert site.get("/", Host=host).status == 403
    assert site.get(f"/?token={site.token}", Host=host).status == 403


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:1234", "LOCALHOST", "[::1]:80", "10.1.2.3"])
def test_own_names_and_addresses_in_numbers_are_not(site: Site, host: str) -> None:
    assert site.get("/", Host=host).status == 200


def test_a_name_can_be_allowed(shop: Database, start: Start) -> None:
    site = start("--allow-name", "models.example", dsn=shop.dsn())
    assert site.get("/", Host="models.example:80").status == 200
    assert site.get("/", Host="other.example").status == 403


@pytest.mark.parametrize("path", [*PAGES, "/runs/0", "/runs/x", "/models/x"])
def test_every_answer_forbids_what_is_not_ours(site: Site, path: str) -> None:
    for cookie in (None, ""):
        headers = site.get(path, cookie=cookie).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert headers["x-frame-options"] == "DENY" and headers["referrer-policy"] == "same-origin"
        assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"
        assert "server" not in headers


def test_runs_are_stopped_with_our_own_form_and_only_where_that_was_asked_for(bare: Database, start: Start) -> None:
    make_watchable(bare)
    begin_run(bare, 7)
    plain, acting = start(dsn=bare.dsn()), start("--actions", dsn=bare.dsn())
    assert "trails.stop(7)" in plain.page("/runs/7").text and "<form" not in plain.get("/runs/7").text
    form = acting.get("/runs/7").text
    token = form.partition('name="form_token" value="')[2].partition('"')[0]
    assert len(token) > 30
    stopping = "SELECT stopping FROM trails.progress"
    assert plain.ask("POST", "/runs/7/stop", f"form_token={token}").status == 404
    for body in ("", "form_token=", "form_token=x", f"form_token={acting.token}", "x" * 10_000):
        assert acting.ask("POST", "/runs/7/stop", body).status in (403, 413)
    assert acting.ask("POST", "/runs/7/stop", f"form_token={token}", cookie="").status == 403
    assert acting.ask("POST", "/runs/7/stop", f"form_token={token}", Origin="http://evil.example").status == 403
    assert acting.ask("POST", "/runs/7/stop", f"form_token={token}", Origin="null").status == 403
    assert acting.get("/runs/7/stop").status == 405
    assert acting.ask("POST", "/runs/7/drop", f"form_token={token}").status == 404
    assert bare.sql(stopping) == [(False,)]
    answer = acting.ask("POST", "/runs/7/stop", f"form_token={token}", Origin=acting.base)
    assert answer.status == 303 and answer.headers["location"] == "/runs/7"
    assert bare.sql(stopping) == [(True,)]
    again = acting.ask("POST", "/runs/7/stop", f"form_token={token}", Origin=acting.base)
    assert again.status == 303 and again.headers["location"] == "/runs/7"


def test_the_connection_string_is_nowhere_to_be_found(shop: Database, start: Start) -> None:
    uri = shop.server.uri(shop.name)
    password = uri.partition(":")[2].partition(":")[2].partition("@")[0]
    assert len(password) > 8
    site = start(dsn=uri)
    assert password not in Path(f"/proc/{site.process.pid}/cmdline").read_text()
    for path in ("/", "/runs/1", "/models/buyers", "/models/buyers?source=nope", "/runs/99", "/live"):
        answer = site.get(path)
        assert password not in answer.text and uri not in answer.text
    assert site.stop() == 0 and password not in site.log and site.token not in site.log


@pytest.mark.parametrize(
    ("dsn", "said"),
    [
        ("postgresql://u:s3cret-word@127.0.0.1:1/x", "cannot be reached"),
        ("host=127.0.0.1 port=1 password=s3cret-word", "cannot be reached"),
        ("s3cret-word", "cannot be read"),
        ("postgresql://u:s3cret-word@127.0.0.1:port/x", "cannot be"),
        ("postgresql://s3cret-word:%zz@h/x", "cannot be read"),
    ],
)
def test_a_database_that_cannot_be_reached_is_told_without_its_connection_string(dsn: str, said: str) -> None:
    for given in ({"dsn": dsn}, {"dsn": None, "environment": {"TRAILS_DSN": dsn}}):
        site = Site(**given)  # type: ignore[arg-type]
        assert not site.url and site.process.returncode == 1
        assert said in site.log and "s3cret-word" not in site.log and site.log.count("\n") == 1


def test_another_address_than_loopbacks_is_warned_of_and_needs_the_token_too(shop: Database, start: Start) -> None:
    site = start("--host", "0.0.0.0", dsn=shop.dsn())
    assert site.get("/", cookie="").status == 403 and site.get("/").status == 200
    assert site.stop() == 0 and "other machines can reach this address" in site.log
    quiet = start(dsn=shop.dsn())
    assert quiet.stop() == 0 and quiet.log == ""


def test_a_port_that_is_taken_is_told(shop: Database, site: Site) -> None:
    other = Site("--port", str(site.port), dsn=shop.dsn())
    assert other.process.returncode == 1 and "cannot be listened at" in other.log and "--port 0" in other.log


def _python(code: str) -> subprocess.CompletedProcess[str]:
    environment: dict[str, Any] = {**os.environ, "PYTHONPATH": str(ROOT / "python")}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("package", ["starlette", "uvicorn", "jinja2", "psycopg2"])
def test_without_its_packages_it_says_what_to_install(package: str) -> None:
    missing = f"import sys; sys.modules[{package!r}] = None"
    done = _python(f"{missing}\nfrom trails.cli import main; sys.exit(main(['dashboard']))")
    assert done.returncode == 1 and "pip install 'trails[dashboard]'" in done.stderr and done.stderr.count("\n") == 1


def test_the_command_line_imports_none_of_them() -> None:
    packages = ("starlette", "uvicorn", "jinja2", "psycopg2", "anyio", "asyncio")
    done = _python(f"import sys, trails.cli; print([m for m in {packages} if m in sys.modules])")
    assert done.stdout.strip() == "[]"


def test_only_the_commands_own_connection_string_makes_it_begin_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[tuple[list[str], str]] = []
    monkeypatch.setattr(os, "execve", lambda path, argv, env: begun.append((argv[1:], env["TRAILS_DSN"])))
    for given in (["--dsn", "d"], ["--dsn=d"], ["--ds", "d"], ["--d=d"]):
        hide(["python", "-m", "trails", "dashboard", *given, "--port", "0"], "d")
        assert begun.pop() == (["-m", "trails", "dashboard", "--port", "0"], "d")
    for given in (["-m", "trails", "dashboard"], ["x.py", "--dsn", "other"], ["--dsn"]):
        hide(["python", *given], "d")
    assert not begun
