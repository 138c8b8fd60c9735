"""Requests that arrived as TLS early data (RFC 8470), which an attacker may have replayed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from asgi_tls.errors import ConfigurationError
from asgi_tls.middleware.answer import Answer
from asgi_tls.middleware.checks import checked_strings
from asgi_tls.middleware.unmade import remembered

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Receive, Scope, Send

# RFC 9110 section 9.2.1.
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Z-]+")
_TOO_EARLY = Answer.text(425, "Too Early")


class EarlyDataMiddleware:
    """Answers 425 (Too Early) to an unsafe request that a proxy has marked with `Early-Data`.

    safe_methods: the methods that may be replayed without harm; GET, HEAD, OPTIONS and TRACE.

    Any value of the field, and any number of them, counts as `1` (RFC 8470 section 5.1). A WebSocket handshake is
    refused too: what a new session does is not known to be safe. Clients try again once the handshake is complete.
    Raises ConfigurationError when a setting is wrong.
    """

    @remembered
    def __init__(self, app: ASGIApp, *, safe_methods: Iterable[str] = SAFE_METHODS) -> None:
        self.app = app
        self.safe_methods = frozenset(checked_strings("safe_methods", safe_methods, "GET"))
        for method in self.safe_methods:
            if not _METHOD.fullmatch(method):
                raise ConfigurationError(
                    f"{method!r} is not a request method", fix="Write methods in upper case, such as 'GET'."
                )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self.app
        if scope["type"] in ("http", "websocket"):
            app = self.intercept(scope) or app
        await app(scope, receive, send)

    def intercept(self, scope: Scope) -> ASGIApp | None:
        """What answers this HTTP or WebSocket request instead of the application, None where nothing does."""
        # A WebSocket scope has no method.
        if scope.get("method") in self.safe_methods:
            return None
        for name, _ in scope["headers"]:
            if name.lower() == b"early-data":
                return _TOO_EARLY
        return None
