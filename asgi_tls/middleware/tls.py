"""Everything in one line, in the right order: the connection's facts, headers, the redirect, early data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asgi_tls.connection import CONNECTION
from asgi_tls.errors import ConfigurationError
from asgi_tls.middleware.answer import is_secure
from asgi_tls.middleware.connection import with_connection
from asgi_tls.middleware.early_data import SAFE_METHODS, EarlyDataMiddleware
from asgi_tls.middleware.headers import DEFAULT_HSTS, SecurityHeadersMiddleware
from asgi_tls.middleware.redirect import HTTPSRedirectMiddleware

if TYPE_CHECKING:
    import os
    from collections.abc import Awaitable, Iterable, Mapping

    from secure import Secure
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from asgi_tls.middleware.csp import Content
    from asgi_tls.middleware.hsts import HSTS
    from asgi_tls.middleware.merge import Merger, Pair


class TLSMiddleware:
    """Redirects to https, adds security headers, refuses unsafe early data, and fills the ASGI `tls` extension.

    Use it as `app.add_middleware(TLSMiddleware, hosts=["example.com"])`, or, to cover the framework's own error pages
    as well, as `app = TLSMiddleware(app, hosts=["example.com"])`. Only `hosts` is needed.

    hosts, canonical_host, https_port, port_map, redirect_status, exempt, webroot, development: see
        HTTPSRedirectMiddleware.
    content, hsts, secure, headers, paths, override: see SecurityHeadersMiddleware.
    safe_methods: see EarlyDataMiddleware.

    Raises ConfigurationError when a setting is wrong, or when two of them contradict each other.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Iterable[str],
        canonical_host: str | None = None,
        https_port: int = 443,
        port_map: Mapping[int, int] | None = None,
        redirect_status: int = 308,
        exempt: Iterable[str] = (),
        webroot: str | os.PathLike[str] | None = None,
        development: bool = False,
        content: Content = "api",
        hsts: HSTS | None = DEFAULT_HSTS,
        secure: Secure | None = None,
        headers: Mapping[str, str | None] | None = None,
        paths: Mapping[str, Mapping[str, str | None]] | None = None,
        override: bool = False,
        safe_methods: Iterable[str] = SAFE_METHODS,
    ) -> None:
        self.app = app
        headers_part = SecurityHeadersMiddleware(
            app, content=content, hsts=hsts, secure=secure, headers=headers, paths=paths, override=override
        )
        self._redirect = HTTPSRedirectMiddleware(
            app,
            hosts=hosts,
            canonical_host=canonical_host,
            https_port=https_port,
            port_map=port_map,
            redirect_status=redirect_status,
            exempt=exempt,
            webroot=webroot,
            development=development,
        )
        self._early_data = EarlyDataMiddleware(app, safe_methods=safe_methods)
        self._wrap = headers_part.wrap
        # Over TLS, requests with these methods need no further look.
        self._undisputed = frozenset() if self._redirect.serves_challenges else self._early_data.safe_methods
        # And where each path has one constant set of fields, there is a short way.
        mergers = headers_part.over_tls
        short = mergers.is_exact and all(each.is_constant for each in (mergers.default, *mergers.exact.values()))
        self._short = self._undisputed if short else frozenset[str]()
        self._mergers, self._merger = mergers.exact, mergers.default
        if headers_part.preloads and self._redirect.leaves_host:
            raise ConfigurationError(
                "HSTS preload comes with a canonical_host, so that http://host leads to another host at once",
                fix="The preload list wants the first redirect on the same host: leave canonical_host out.",
            )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Nearly every request to an API is a safe one over TLS, and its answer has no header of ours. What `_decide`
        # and `Merger.sender` do for it stands here in one piece: each call saved is a tenth of the whole cost.
        try:
            short = scope["scheme"] == "https" and scope["method"] in self._short and not scope["root_path"]
        except KeyError:  # a WebSocket, the lifespan, or a server that leaves defaults out
            short = False
        if not short:
            await self._decide(scope, receive, send)
            return
        if CONNECTION in scope:
            scope = with_connection(scope)
        path, mergers = scope["path"], self._mergers
        merger = mergers[path] if path in mergers else self._merger  # noqa: SIM401 -- twice as fast as get()

        # Values bound as defaults are faster than closure cells.
        def send_with_fields(
            message: Message,
            send: Send = send,
            merger: Merger = merger,
            harmless: set[bytes] = merger.harmless,
            fields: list[Pair] = merger.fields,
        ) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                if message["status"] < 200 or type(headers := message.get("headers")) is not list:
                    return send(merger.added(message, fields))
                for name, _ in headers:
                    if name not in harmless:
                        return send(merger.added(message, fields))
                message = {**message, "headers": headers + fields}
            return send(message)

        await self.app(scope, receive, send_with_fields)

    async def _decide(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One decision, where three nested middlewares would make three; whatever answers, its response has headers."""
        app = self.app
        if scope["type"] in ("http", "websocket"):
            scope = with_connection(scope)
            over_tls = is_secure(scope)
            send = self._wrap(scope, send, over_tls=over_tls)
            if not over_tls or scope.get("method") not in self._undisputed:
                app = self._redirect.intercept(scope) or self._early_data.intercept(scope) or app
        await app(scope, receive, send)
