"""Security headers on every response, encoded once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from asgi_tls.connection import CONNECTION
from asgi_tls.errors import ConfigurationError, check_type
from asgi_tls.hostnames import is_loopback, parse_authority
from asgi_tls.middleware.answer import is_secure
from asgi_tls.middleware.checks import check_switch, checked_mapping
from asgi_tls.middleware.connection import with_connection
from asgi_tls.middleware.csp import NONCE, Content, api_policy, web_policy
from asgi_tls.middleware.docs_pages import PAGES
from asgi_tls.middleware.fields import CSP_NAMES, HSTS_NAME, Fields, defaults, encoded, from_secure, hsts_of, overlaid
from asgi_tls.middleware.hsts import HSTS
from asgi_tls.middleware.merge import Merger, Pair
from asgi_tls.middleware.paths import PathTable
from asgi_tls.middleware.unmade import remembered

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from secure import Secure
    from starlette.types import ASGIApp, Receive, Scope, Send

    Settings = Mapping[str, str | None]


DEFAULT_HSTS = HSTS()
_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
# The messages that carry the head of a response.
_HEADS: Final = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})
# Final responses whose policy is their own: 304 speaks of a page that the browser has.
_ORDINARY: Final = frozenset({*range(200, 600)} - {304})
# Clients that make up hosts must not fill the memory.
_MOST_HOSTS: Final = 200

_AS_HEADERS: Final = 'headers={"X-Frame-Options": "SAMEORIGIN"}'
_AS_PATHS: Final = 'paths={"/embed/*": {"X-Frame-Options": None}}'
_AS_HSTS: Final = "Write hsts=HSTS(max_age=31536000) or hsts=HSTS(), with parentheses; hsts=None sends none."


class SecurityHeadersMiddleware:
    """Adds security headers to HTTP responses and WebSocket handshakes.

    content: which Content-Security-Policy a response gets. "auto": HTML may use what is on this origin, anything else
        is an API's. "api": nothing may run, load or be framed, HTML included. "web": as for HTML, and inline scripts
        and styles with the nonce of the request.
    hsts: sent over TLS only, and exactly once; None sends none. Loopback hosts (localhost, 127.0.0.1) get none.
    secure: a `secure.Secure`, which replaces all our defaults.
    headers: more headers, or other values than the defaults; None removes one. A Content-Security-Policy may hold
        'nonce-{nonce}': each request gets its own, as `request.state.csp_nonce`.
    paths: the same for single paths ("/embed") or everything below one ("/embed/*"), on top of `headers`. The pages of
        FastAPI (Swagger UI, ReDoc) have theirs already, wherever they are; `{"/docs": {}}` removes them.
    override: replace what the application set. Otherwise its own header wins.

    Over plain HTTP no Strict-Transport-Security is sent, not even the application's own (RFC 6797 section 7.2).
    Raises ConfigurationError for every setting that would not work as written.
    """

    @remembered
    def __init__(
        self,
        app: ASGIApp,
        *,
        content: Content = "auto",
        hsts: HSTS | None = DEFAULT_HSTS,
        secure: Secure | None = None,
        headers: Settings | None = None,
        paths: Mapping[str, Settings] | None = None,
        override: bool = False,
    ) -> None:
        self.app = app
        headers = checked_mapping("headers", {} if headers is None else headers, _AS_HEADERS)
        paths = checked_mapping("paths", {} if paths is None else paths, _AS_PATHS)
        for path, each in paths.items():
            checked_mapping(f"paths[{path!r}]", each, _AS_PATHS)
        check_switch("override", override)
        html, other = (overlaid(each, headers) for each in _base(content, hsts, secure))
        pages = {name: encoded(overlaid(html, page)) for name, page in PAGES.items()}

        def rules(*, with_hsts: bool) -> PathTable[Merger]:
            def merger(settings: Settings, pages: Mapping[str, tuple[tuple[bytes, bytes], ...]]) -> Merger:
                page, rest = encoded(overlaid(html, settings)), encoded(overlaid(other, settings))
                return Merger(page, rest, pages, hsts=with_hsts, override=override)

            return PathTable({path: merger(each, {}) for path, each in paths.items()}, merger({}, pages))

        self._with_hsts, self._without = rules(with_hsts=True), rules(with_hsts=False)
        policy = hsts_of(html)
        self.preloads = policy is not None and policy.preload
        self._only = self._with_hsts.default if self._with_hsts.is_single else None
        # Requests with these methods need no further look when they come over TLS.
        self._undisputed = _METHODS
        # Host fields, as (b"host", b"example.com"), that are not of this machine.
        self._elsewhere: set[tuple[bytes, bytes]] = set()

    def _intercept(self, _scope: Scope) -> ASGIApp | None:
        """What answers instead of the application, None where nothing does."""
        return None

    def _may_settle(self) -> bool:
        """Whether further requests to a known host need no look at all."""
        return True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: C901 -- each call is 3 %
        app = self.app
        # This is enough for nearly every request: over TLS, with a method of `_undisputed`, to a known host.
        try:
            is_settled = (
                scope["scheme"] == "https"
                and scope["method"] in self._undisputed
                and scope["headers"][0] in self._elsewhere
            )
        except (KeyError, IndexError, TypeError):  # a WebSocket, the lifespan, a server that leaves defaults out
            is_settled = False
        if is_settled:
            merger = self._only or self._with_hsts.find(scope)
        elif scope["type"] not in ("http", "websocket"):
            await app(scope, receive, send)
            return
        else:
            app = self._intercept(scope) or app
            merger = self._rules(scope).find(scope)
        if CONNECTION in scope:
            scope = with_connection(scope)
        fields, nonce = merger.fields, ""
        if merger.has_nonce:
            fields, nonce = merger.fields_with_nonce(scope)

        # No coroutine function: what the inner send returns is awaited just as well. Values bound as defaults are 9 %
        # faster than closure cells (instructions of the whole request, by callgrind).
        def send_with_fields(
            message: Any,
            send: Send = send,
            merger: Merger = merger,
            harmless: set[bytes] = merger.harmless,
            fields: list[Pair] = fields,
            scope: Scope = scope,
            nonce: str = nonce,
        ) -> Awaitable[None]:
            if message["type"] in _HEADS:
                headers = message.get("headers")
                if type(headers) is not list or message.get("status") not in _ORDINARY:
                    return send(merger.completed(message, scope, nonce))
                for name, value in headers:
                    if name not in harmless and (name != b"content-type" or value not in merger.ordinary_types):
                        return send(merger.completed(message, scope, nonce))
                message = message.copy()
                message["headers"] = headers + fields
            return send(message)

        await app(scope, receive, send_with_fields)

    def _rules(self, scope: Scope) -> PathTable[Merger]:
        """With HSTS over TLS, but not for this machine: browsers would apply it to all that is developed there."""
        if not is_secure(scope):
            return self._without
        for name, value in scope["headers"]:
            if name == b"host":
                authority = parse_authority(value)
                if authority is not None and is_loopback(authority.host):
                    return self._without
                if len(self._elsewhere) < _MOST_HOSTS and self._may_settle():
                    self._elsewhere.add((name, value))
        return self._with_hsts


def _base(content: Content, hsts: HSTS | None, secure: Secure | None) -> tuple[Fields, Fields]:
    """The fields before any setting: of HTML, and of everything else."""
    if secure is not None:
        if hsts is not DEFAULT_HSTS or content != "auto":
            raise ConfigurationError(
                "secure= is set together with content= or hsts=",
                fix="A Secure brings all its headers, so set the policy and HSTS there, or leave secure out.",
            )
        fields = from_secure(secure)
        return fields, fields
    check_type("hsts", hsts, HSTS | None, _AS_HSTS)
    api, web = api_policy(), web_policy(NONCE)
    policies = {"auto": (web_policy(), api), "web": (web, web), "api": (api, api)}
    if content not in [*policies]:
        raise ConfigurationError(f"content is {content!r}", fix='Use "auto", "web" or "api".')
    fields = {} if hsts is None else {HSTS_NAME: (hsts.value,)}
    fields |= {name: (value,) for name, value in defaults().items()}
    html, other = ({**fields, CSP_NAMES[0]: (policy,)} for policy in policies[content])
    return html, other
