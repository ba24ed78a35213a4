"""Dashboards in processes of their own, asked as a browser asks; and what a page is made of."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Answer:
    """What came: ``headers`` by names in small letters."""

    status: int
    headers: Mapping[str, str]
    text: str


class Site:
    """A dashboard that was started as a person starts it."""

    def __init__(self, *arguments: str, dsn: str | None, environment: Mapping[str, str] | None = None) -> None:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("PG") and k != "TRAILS_DSN"}
        named = [] if dsn is None else ["--dsn", dsn]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "trails", "dashboard", "--port", "0", *named, *arguments],
            env={**clean, "PYTHONPATH": str(ROOT / "python"), **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        self.log = ""
        if not self.url:
            self.stop()
            return
        parts = urlsplit(self.url)
        assert parts.hostname is not None and parts.port is not None
        self.host, self.port = parts.hostname, parts.port
        self.base = f"http://{parts.netloc}"
        self.token = parse_qs(parts.query)["token"][0]
        self.cookie = self.get(f"/?token={self.token}", cookie="").headers["set-cookie"].partition(";")[0]

    def ask(self, method: str, path: str, body: str | None = None, cookie: str | None = None, **headers: str) -> Answer:
        """One request; underscores in names of headers stand for hyphens."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=120)
        try:
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            cookie = self.cookie if cookie is None else cookie
            connection.request(method, path, body, {**({"Cookie": cookie} if cookie else {}), **given})
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, found, answer.read().decode())
        finally:
            connection.close()

    def get(self, path: str, cookie: str | None = None, **headers: str) -> Answer:
        """A page, with the cookie of whoever came with the token unless another is given."""
        return self.ask("GET", path, None, cookie, **headers)

    def page(self, path: str) -> Page:
        """A page that must be there, looked into."""
        answer = self.get(path)
        assert answer.status == 200, (answer.status, answer.text)
        return Page(answer.text)

    def stop(self) -> int:
        """End it; its exit status. ``log`` is what it said on standard error."""
        if self.process.poll() is None and self.url:
            self.process.send_signal(signal.SIGTERM)
        _, self.log = self.process.communicate(timeout=60)
        return self.process.returncode


class Page(HTMLParser):
    """The text of a page, its tables and its links; refuses what the page's own rules forbid."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.html = html
        self.tables: list[list[list[str]]] = []
        self.links: list[str] = []
        self.data: list[str] = []
        self._parts: list[str] = []
        self._cell: list[str] | None = None
        self._in_data = False
        self.feed(html)

    @property
    def text(self) -> str:
        """What is read, in one line."""
        return " ".join("".join(self._parts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        assert "style" not in given and not any(name.startswith("on") for name in given), (tag, given)
        assert tag not in ("style", "iframe", "object", "embed", "base"), tag
        if tag == "script":
            ours = re.fullmatch(r"/static/\w+\.js", given.get("src") or "") is not None
            self._in_data = given.get("type") == "application/json" and "src" not in given
            assert ours or self._in_data, given
        elif tag == "img":
            assert (given.get("src") or "").startswith("/static/"), given
        elif tag == "a":
            self.links.append(given.get("href") or "")
        elif tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self._cell = []

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th") and self._cell is not None:
            self.tables[-1][-1].append(" ".join("".join(self._cell).split()))
            self._cell = None
        elif tag == "script":
            self._in_data = False
        if tag in ("p", "h1", "h2", "h3", "td", "th", "dd", "dt", "li", "caption", "option"):
            self._parts.append(" ")

    def handle_data(self, data: str) -> None:
        if self._in_data:
            self.data.append(data)
            return
        self._parts.append(data)
        if self._cell is not None:
            self._cell.append(data)
