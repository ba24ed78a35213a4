"""Who gets in: whoever has the token that was made at the start, with a browser that asks for this host."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any
from urllib.parse import urlencode

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_HEADERS = {
    # No script, style or picture but our own files, nothing from elsewhere, and no frame around a page.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    # Other sites are told nothing. With no-referrer a browser says of our own forms, too, that they come from nowhere.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """Middleware (ASGI) around the pages.

    Args:
        app: The pages.
        port: The port that is listened at; browsers keep cookies by host and not by port, so its name holds it.
        names: Host names that a browser may ask for, beside loopback's and any address in numbers.
        token: Of the address that is printed; None: a new one.

    Attributes:
        token: As above.
        form_token: What forms that do something carry: a page from elsewhere can send a form, and cannot read ours.
    """

    def __init__(self, app: Any, port: int, names: Collection[str] = (), token: str | None = None) -> None:
        self._app = app
        self._names = {"localhost", *(name.lower() for name in names)}
        self.cookie = f"trails_dashboard_{port}"
        self.token = token or secrets.token_urlsafe(32)
        self.form_token = secrets.token_urlsafe(32)
        # What the browser keeps is not what stands in the address, which ends up in histories.
        self._session = secrets.token_urlsafe(32)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer it."""
        if scope["type"] != "http":
            return

        async def send_guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        request = Request(scope)
        answer = self._refusal(request) or self._welcome(request)
        if answer is None and not _same(request.cookies.get(self.cookie, ""), self._session):
            answer = PlainTextResponse(
                "403: open the address that `python -m trails dashboard` printed; it holds the token.\n", 403
            )
        scope["form_token"] = self.form_token
        await (answer or self._app)(scope, receive, send_guarded)

    def _refusal(self, request: Request) -> PlainTextResponse | None:
        """A name of somebody else's that leads here is how a page from elsewhere would read ours (DNS rebinding)."""
        hosts = request.headers.getlist("host")
        if len(hosts) == 1 and self.knows(hosts[0]):
            origin = request.headers.get("origin")
            if request.method in ("GET", "HEAD") or origin in (None, f"{request.url.scheme}://{hosts[0]}"):
                return None
        return PlainTextResponse("403: this name is not one of the dashboard's; --allow-name adds one.\n", 403)

    def knows(self, host: str) -> bool:
        """Whether a ``Host`` header means this program."""
        name = host.lower()
        if name.startswith("["):
            name = name[1:].partition("]")[0]
        elif name.count(":") <= 1:
            name = name.partition(":")[0]
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _welcome(self, request: Request) -> RedirectResponse | None:
        """To the same page without the token, with a cookie in its place."""
        given = request.query_params.get("token")
        if request.method != "GET" or given is None or not _same(given, self.token):
            return None
        rest = urlencode([(k, v) for k, v in request.query_params.multi_items() if k != "token"])
        # Never to another host: a path that begins with two slashes would be one.
        path = "/" + request.url.path.lstrip("/\\")
        answer = RedirectResponse(f"{path}?{rest}" if rest else path, 303)
        answer.set_cookie(self.cookie, self._session, httponly=True, samesite="strict", path="/")
        return answer


def _same(given: str, secret: str) -> bool:
    return hmac.compare_digest(given.encode(), secret.encode())
