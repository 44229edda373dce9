"""Who may ask, and what a browser may do with the answer: around every request."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders

from serving.app.refusals import RequestRefusedError

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
SECURITY_HEADERS = {
    "Content-Security-Policy": _CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""On every response. Nothing is loaded from elsewhere, no script or style stands in the page."""

_WITH_TOKEN = ("/api/", "/metrics")


class Guard:
    """ASGI middleware: checks the host, the origin and the token, and sets security headers."""

    def __init__(self, app: ASGIApp, hosts: Collection[str], token: str) -> None:
        self._app = app
        self._hosts = {host.lower() for host in hosts}
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            self._check(scope["path"], Headers(scope=scope))
        except RequestRefusedError as refused:
            await refused.response()(scope, receive, send_guarded)
        else:
            await self._app(scope, receive, send_guarded)

    def _check(self, path: str, headers: Headers) -> None:
        # A page of a stranger can point its own name at this machine, but not change this header.
        host = _without_port(headers.get("host", "")).lower()
        if host not in self._hosts:
            raise RequestRefusedError(
                400, f"this server is not called {host[:100]!r}; start it with --hosts naming it"
            )
        if headers.get("sec-fetch-site") == "cross-site" and path.startswith(_WITH_TOKEN):
            raise RequestRefusedError(403, "pages of other sites may not ask this server")
        if self._token and path.startswith(_WITH_TOKEN):
            self._check_token(headers.get("authorization", ""))

    def _check_token(self, given: str) -> None:
        scheme, _, token = given.partition(" ")
        sound = hmac.compare_digest(token.strip().encode(), self._token)
        if scheme.lower() != "bearer" or not sound:
            reason = "a token is needed; send it as `Authorization: Bearer <token>`"
            raise RequestRefusedError(401, reason, {"WWW-Authenticate": "Bearer"})


def _without_port(host: str) -> str:
    """`localhost:8000` to `localhost`, `[::1]:8000` to `[::1]`."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host
