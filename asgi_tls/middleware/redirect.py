"""From http to https, to hosts on the list and nowhere else."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from asgi_tls.errors import ConfigurationError
from asgi_tls.hostnames import Authority, bracketed, checked_host, checked_port, parse_authority
from asgi_tls.middleware.acme import CHALLENGE_PATH, ChallengeFiles, challenge_token
from asgi_tls.middleware.answer import Answer, is_secure
from asgi_tls.middleware.hosts import AllowedHosts
from asgi_tls.middleware.location import Target, request_target
from asgi_tls.middleware.paths import PathTable

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

    from starlette.types import ASGIApp, Receive, Scope, Send

_log = logging.getLogger("asgi_tls")

_STATUSES = (301, 302, 307, 308)
_HTTP_PORT, _HTTPS_PORT = 80, 443
_BAD_HOST = Answer.text(400, "Invalid host header")
_BAD_TARGET = Answer.text(400, "Invalid request target")


class HTTPSRedirectMiddleware:
    """Redirects plain HTTP and WebSocket requests to https, and passes the rest on.

    hosts: the hosts that may stand in a Location: names, addresses, `*.example.com`, or `*` for any well-formed one.
        A request for another host, or with a missing, repeated or malformed Host field, gets 400.
    canonical_host: the one host that every redirect leads to. Without it, the host stays the same.
    https_port: the port that redirects lead to; port_map gives another for some ports of the Host field.
    redirect_status: 308, or 301, 302, 307.
    exempt: paths that are answered on plain HTTP, such as "/health" or "/internal/*".
    webroot: the directory that ACME challenges are served from, over http and https. Without it they reach the
        application. They are never redirected.

    Only `scope["scheme"]` decides. Whether a forwarded header is to be believed is the server's business.
    Raises ConfigurationError when a setting is wrong.
    """

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
    ) -> None:
        self.app = app
        self._hosts = AllowedHosts(hosts)
        self._canonical = None if canonical_host is None else checked_host(canonical_host)
        self.leaves_host = self._canonical is not None and self._hosts.exact != {self._canonical}
        self._port_suffixes = {
            checked_port("a port in port_map", http): _port_suffix(checked_port("a port in port_map", https))
            for http, https in (port_map or {}).items()
        }
        self._default_suffix = _port_suffix(checked_port("https_port", https_port))
        if redirect_status not in _STATUSES:
            raise ConfigurationError(
                f"redirect_status is {redirect_status}", fix=f"Choose one of {', '.join(map(str, _STATUSES))}."
            )
        self._status = redirect_status
        if isinstance(exempt, str):
            raise ConfigurationError(f"exempt is the string {exempt!r}", fix=f"Write exempt=[{exempt!r}].")
        self._exempt = PathTable(dict.fromkeys(exempt, True), False)
        self._challenges = None if webroot is None else ChallengeFiles(webroot)
        self.serves_challenges = webroot is not None
        self._warned = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self.app
        if scope["type"] in ("http", "websocket"):
            app = self.intercept(scope) or app
        await app(scope, receive, send)

    def intercept(self, scope: Scope) -> ASGIApp | None:
        """What answers this HTTP or WebSocket request in the application's place, if anything does."""
        if self._challenges is not None and CHALLENGE_PATH in scope["path"] and challenge_token(scope) is not None:
            return self._challenges
        if is_secure(scope) or challenge_token(scope) is not None or self._exempt.find(scope):
            return None
        target = request_target(scope)
        if target is None:
            return _BAD_TARGET
        authority = _authority(scope, target)
        if authority is None or not self._hosts.allows(authority.host):
            return _BAD_HOST
        self._warn_of_loop(scope)
        return Answer(self._status, ((b"location", self._location(scope, authority, target)),))

    def _location(self, scope: Scope, authority: Authority, target: Target) -> bytes:
        scheme = b"wss://" if scope["type"] == "websocket" else b"https://"
        host = bracketed(self._canonical or authority.host).encode("ascii")
        port = self._port_suffixes.get(authority.port or _HTTP_PORT, self._default_suffix)
        return b"".join((scheme, host, port, target.path, target.query))

    def _warn_of_loop(self, scope: Scope) -> None:
        """Say, once, that a proxy seems to end TLS for us and is not trusted: each redirect comes back as http."""
        if self._warned or not _claims_https(scope):
            return
        self._warned = True
        client = scope.get("client")
        peer = client[0] if client else "a socket without an address"
        _log.warning(
            "A request from %s came over plain HTTP, yet its forwarded header says https, and the server did not trust "
            "that header. If this is your proxy, the redirect to https loops. Let the server trust the proxy: "
            "uvicorn --proxy-headers --forwarded-allow-ips=%s, or wrap the application in "
            "hypercorn.middleware.ProxyFixMiddleware. (This is said once.)",
            peer,
            client[0] if client else "'*'",
        )


def _authority(scope: Scope, target: Target) -> Authority | None:
    # RFC 9112 section 3.2: no Host, or more than one, is a bad request whatever the target says.
    fields = [value for name, value in scope["headers"] if name.lower() == b"host"]
    if len(fields) != 1:
        return None
    return parse_authority(fields[0] if target.authority is None else target.authority)


def _claims_https(scope: Scope) -> bool:
    for name, value in scope["headers"]:
        match name.lower():
            case b"x-forwarded-proto" if value.rpartition(b",")[2].strip().lower() in (b"https", b"wss"):
                return True
            case b"forwarded" if b"proto=https" in value.lower().replace(b'"', b""):
                return True
    return False


def _port_suffix(port: int) -> bytes:
    return b"" if port == _HTTPS_PORT else b":%d" % port
