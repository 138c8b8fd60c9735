"""Redirects from http to https, only to hosts on the list."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from asgi_tls.certificate.challenges import challenges
from asgi_tls.errors import ConfigurationError, check_type
from asgi_tls.hostnames import Authority, bracketed, checked_host, checked_port, is_loopback, parse_authority
from asgi_tls.middleware.acme import CHALLENGE_PATH, ChallengeFiles, challenge_token, own_answer
from asgi_tls.middleware.answer import Answer, is_secure
from asgi_tls.middleware.checks import check_switch, checked_strings
from asgi_tls.middleware.forwarded import loop_of
from asgi_tls.middleware.hosts import AllowedHosts
from asgi_tls.middleware.location import Target, request_target
from asgi_tls.middleware.paths import PathTable
from asgi_tls.middleware.unmade import remembered

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Receive, Scope, Send

_log = logging.getLogger("asgi_tls")

_STATUSES = (301, 302, 307, 308)
_HTTP_PORT, _HTTPS_PORT = 80, 443
# The hosts of test clients: those of Starlette and Litestar, and the one that FastAPI's documentation gives to httpx.
# No visitor has them: no name server has an address for them (RFC 6761 section 6.2, RFC 6762 section 3).
_TEST_HOSTS = frozenset({"testserver", "testserver.local", "test"})

MORE = "More: asgi-tls explain redirect-refused"
_BAD_TARGET = Answer.text(400, f"Not redirected to https: the request target is not a path. {MORE}")
_BAD_HOST = Answer.text(
    400, f"Not redirected to https: the Host field is missing, repeated or not a valid host. {MORE}"
)
_FOREIGN_HOST = Answer.text(
    400,
    "Not redirected to https: the host is not among the hosts=[…] of TLSMiddleware. Add it there, or use https. "
    f"In tests and development: TLSMiddleware(…, development=True). {MORE}",
)
_NO_STORE = (b"cache-control", b"no-store")

_REFUSED = "A plain HTTP request got 400 and no redirect to https: %s. %s (Reported once.)"
_IN_PLAIN = (
    "TLSMiddleware(development=True): plain HTTP requests to %s are served without a redirect to https, as are those "
    "to localhost, loopback addresses and the hosts of test clients. Leave the setting out in production. (Reported "
    "once.)"
)
_LOOP = (
    "A plain HTTP request has %s: if that comes from a proxy that terminates TLS, the redirect to https loops. %s "
    "More: asgi-tls explain redirect-loop (Reported once.)"
)


class HTTPSRedirectMiddleware:
    """Redirects plain HTTP and WebSocket requests to https, and passes the rest on.

    hosts: the hosts that may appear in a Location: names, addresses, `*.example.com`, or `*` for any well-formed one.
        A request for another host, or with a missing, repeated or malformed Host field, gets 400.
    canonical_host: the one host that every redirect leads to. Without it, the host stays the same.
    https_port: the port that redirects lead to; port_map gives another for some ports of the Host field.
    redirect_status: 308, or 301, 302, 307.
    exempt: paths that are answered on plain HTTP, such as "/health" or "/internal/*".
    webroot: the directory that ACME challenges are served from, over http and https. Without it they reach the
        application, or are answered by the server's own ACME account. They are never redirected.

    development: serve plain HTTP and WebSocket requests to localhost, names below it, loopback addresses and the hosts
        of test clients (testserver, testserver.local, test) where they would be redirected. Requests to other hosts are
        redirected.

    Loopback hosts are redirected by 307, which browsers do not cache, whatever redirect_status says.
    Only `scope["scheme"]` decides. The server decides whether to trust a forwarded header.
    Raises ConfigurationError when a setting is wrong.
    """

    # What the refusal of a foreign host says to the client and to the log.
    _foreign_host = _FOREIGN_HOST
    _fix = (
        "If this application should answer for it, add the host to hosts=[…] of TLSMiddleware. In tests and "
        "development, set development=True, or use https."
    )

    @remembered
    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Iterable[str],
        canonical_host: str | None = None,
        https_port: int = _HTTPS_PORT,
        port_map: Mapping[int, int] | None = None,
        redirect_status: int = 308,
        exempt: Iterable[str] = (),
        webroot: str | os.PathLike[str] | None = None,
        development: bool = False,
    ) -> None:
        self.app = app
        self._hosts = self._allowed(hosts)
        check_type(
            "canonical_host", canonical_host, str | None, 'Write a host, as in canonical_host="www.example.com".'
        )
        self._canonical = None if canonical_host is None else checked_host(canonical_host)
        self.leaves_host = self._canonical is not None and self._hosts.exact != {self._canonical}
        check_type("port_map", port_map, Mapping | None, "Write a dict of ports, as in port_map={80: 443, 8080: 8443}.")
        self._port_suffixes = {
            checked_port("a port in port_map", http): _port_suffix(checked_port("a port in port_map", https))
            for http, https in (port_map or {}).items()
        }
        self._default_suffix = _port_suffix(checked_port("https_port", https_port))
        if redirect_status not in _STATUSES:
            raise ConfigurationError(
                f"redirect_status is {redirect_status!r}",
                fix=f"Choose one of {', '.join(map(str, _STATUSES))}, without quotes.",
            )
        self._status = redirect_status
        self._exempt = PathTable(dict.fromkeys(checked_strings("exempt", exempt, "/health"), True), False)
        self._challenges = None if webroot is None else ChallengeFiles(webroot)
        check_switch("development", development)
        self._development = development
        self._logged: set[str] = set()

    @staticmethod
    def _allowed(hosts: Iterable[str]) -> AllowedHosts:
        return AllowedHosts(hosts)

    @property
    def serves_challenges(self) -> bool:
        """Whether requests over TLS may be ACME's. The account may come after the application is built."""
        return self._challenges is not None or challenges.answers_http

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self.app
        if scope["type"] in ("http", "websocket"):
            app = self.intercept(scope) or app
        await app(scope, receive, send)

    def intercept(self, scope: Scope) -> ASGIApp | None:
        """What answers this HTTP or WebSocket request instead of the application, None where nothing does."""
        if CHALLENGE_PATH in scope["path"] and challenge_token(scope) is not None:
            answer = self._challenges or own_answer(scope)
            if answer is not None:
                return answer
        if is_secure(scope) or challenge_token(scope) is not None or self._exempt.find(scope):
            return None
        target = request_target(scope)
        if target is None:
            return _BAD_TARGET
        authority = self._authority(scope, target)
        if authority is None:
            return self._refused(_BAD_HOST, "its Host field is missing, repeated or not a valid host")
        is_local = is_loopback(authority.host)
        if self._development and (is_local or authority.host in _TEST_HOSTS):
            self._log_once("development", _IN_PLAIN, authority.host)
            return None
        if authority.host != self._canonical and not self._hosts.allows(authority.host):
            return self._refused(self._foreign_host, f"its host, {authority.host}, is not among hosts=[…]")
        if (loop := loop_of(scope)) is not None:
            self._log_once(loop.kind, _LOOP, loop.seen, loop.fix)
        location = (b"location", self._location(scope, authority, target))
        # Browsers would apply a permanent redirect of localhost to whatever is developed there next.
        return Answer(307, (location, _NO_STORE)) if is_local else Answer(self._status, (location,))

    def _authority(self, scope: Scope, target: Target) -> Authority | None:
        fields = [value for name, value in scope["headers"] if name.lower() == b"host"]
        if not fields and self._canonical is not None and scope.get("http_version") == "1.0":
            return Authority(self._canonical, None)  # HTTP/1.0 has no Host (RFC 9112 section 3.2 asks for it since 1.1)
        # RFC 9112 section 3.2: no Host, or more than one, is a bad request whatever the target says.
        if len(fields) != 1:
            return None
        return parse_authority(fields[0] if target.authority is None else target.authority)

    def _location(self, scope: Scope, authority: Authority, target: Target) -> bytes:
        # Over HTTP/2 and HTTP/3, a WebSocket is asked for by https (RFC 8441 section 5, RFC 9220 section 3).
        is_upgrade = scope["type"] == "websocket" and str(scope.get("http_version", "1.1")).startswith("1")
        host = bracketed(self._canonical or authority.host).encode("ascii")
        port = self._port_suffixes.get(authority.port or _HTTP_PORT, self._default_suffix)
        return b"".join((b"wss://" if is_upgrade else b"https://", host, port, target.path, target.query))

    def _refused(self, answer: Answer, why: str) -> Answer:
        self._log_once("refused", _REFUSED, why, self._fix)
        return answer

    def _log_once(self, kind: str, message: str, *details: str) -> None:
        """Any client can cause these: each kind is logged as a warning once, and at debug level from then on."""
        _log.log(logging.DEBUG if kind in self._logged else logging.WARNING, message, *details)
        self._logged.add(kind)


def _port_suffix(port: int) -> bytes:
    return b"" if port == _HTTPS_PORT else b":%d" % port
