"""Security headers on every response, encoded once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asgi_tls.errors import ConfigurationError
from asgi_tls.middleware.answer import is_secure
from asgi_tls.middleware.csp import POLICIES, Content
from asgi_tls.middleware.docs_pages import FASTAPI_PAGES
from asgi_tls.middleware.fields import CSP_NAMES, DEFAULTS, HSTS_NAME, Fields, encoded, from_secure, hsts_of, overlaid
from asgi_tls.middleware.hsts import HSTS
from asgi_tls.middleware.merge import Merger
from asgi_tls.middleware.paths import PathTable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from secure import Secure
    from starlette.types import ASGIApp, Receive, Scope, Send


DEFAULT_HSTS = HSTS()


class SecurityHeadersMiddleware:
    """Adds security headers to HTTP responses and WebSocket handshakes.

    content: "api" or "web", which chooses the Content-Security-Policy.
    hsts: sent over TLS only, and exactly once; None sends none.
    secure: a `secure.Secure`, in the place of all our defaults.
    headers: further ones, or others than the defaults; None takes one out. A Content-Security-Policy may hold
        'nonce-{nonce}': each request gets its own, as `request.state.csp_nonce`.
    paths: the same for single paths ("/embed") or everything below one ("/embed/*"), on top of `headers`. The pages of
        FastAPI (/docs, /redoc) have theirs already; `{"/docs": {}}` takes them away.
    override: replace what the application set. Otherwise its own header wins.

    On plain HTTP no Strict-Transport-Security leaves, not even the application's own (RFC 6797 section 7.2).
    Raises ConfigurationError for every setting that would not work as it reads.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        content: Content = "api",
        hsts: HSTS | None = DEFAULT_HSTS,
        secure: Secure | None = None,
        headers: Mapping[str, str | None] | None = None,
        paths: Mapping[str, Mapping[str, str | None]] | None = None,
        override: bool = False,
    ) -> None:
        self.app = app
        fields = overlaid(_base(content, hsts, secure), headers or {})
        rules = {**FASTAPI_PAGES, **(paths or {})}
        pairs = PathTable({path: encoded(overlaid(fields, rules[path])) for path in rules}, encoded(fields))
        self.over_tls = pairs.map(lambda each: Merger(each, secure=True, override=override))
        self._over_http = pairs.map(lambda each: Merger(each, secure=False, override=override))
        policy = hsts_of(fields)
        self.preloads = policy is not None and policy.preload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            send = self.wrap(scope, send, over_tls=is_secure(scope))
        await self.app(scope, receive, send)

    def wrap(self, scope: Scope, send: Send, *, over_tls: bool) -> Send:
        """A `send` for this HTTP or WebSocket request that adds the headers."""
        mergers = self.over_tls if over_tls else self._over_http
        if mergers.is_exact and not scope.get("root_path"):
            # What find() does, without the call: every request comes here.
            merger = mergers.exact.get(scope["path"], mergers.default)
        else:
            merger = mergers.find(scope)
        return merger.sender(scope, send)


def _base(content: Content, hsts: HSTS | None, secure: Secure | None) -> Fields:
    if secure is not None:
        if hsts is not DEFAULT_HSTS or content != "api":
            raise ConfigurationError(
                "secure= comes with content= or hsts=",
                fix="A Secure brings all its headers, so set the policy and HSTS there, or leave secure out.",
            )
        return from_secure(secure)
    if content not in POLICIES:
        raise ConfigurationError(f"content is {content!r}", fix='It is "api" or "web".')
    fields: Fields = {} if hsts is None else {HSTS_NAME: (hsts.value,)}
    fields |= {name: (value,) for name, value in DEFAULTS.items()}
    return {**fields, CSP_NAMES[0]: (POLICIES[content],)}
