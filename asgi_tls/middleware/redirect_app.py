"""The application for a plain port that only redirects to https."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asgi_tls.middleware.answer import Answer
from asgi_tls.middleware.hosts import AllowedHosts, CertificateHosts
from asgi_tls.middleware.redirect import MORE, HTTPSRedirectMiddleware

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Iterable, Mapping

    from starlette.types import ASGIApp, Receive, Scope, Send

_NOT_FOUND = Answer.text(404, "Not Found")


def redirect_app(
    *,
    hosts: Iterable[str],
    canonical_host: str | None = None,
    https_port: int = 443,
    port_map: Mapping[int, int] | None = None,
    redirect_status: int = 308,
    webroot: str | os.PathLike[str] | None = None,
) -> ASGIApp:
    """An ASGI application that redirects every request, and serves ACME challenges when a webroot is given.

    The settings are those of HTTPSRedirectMiddleware. What must not be redirected (a challenge without a webroot, a
    request that the server says came over TLS) gets 404.
    """
    return _RedirectApp(
        _nothing_here,
        hosts=hosts,
        canonical_host=canonical_host,
        https_port=https_port,
        port_map=port_map,
        redirect_status=redirect_status,
        webroot=webroot,
    )


class _RedirectApp(HTTPSRedirectMiddleware):
    """With the words for a plain port, which the server opens itself with --tls-redirect-port."""

    _foreign_host = Answer.text(
        400,
        "Not redirected to https: the host is in no certificate of this server (--tls-redirect-port), or not among the "
        f"hosts=[…] of redirect_app. Add it there, or use https. {MORE}",
    )
    _fix = (
        "If this server should answer for it, serve a certificate that has the host (--tls-redirect-port), or add it "
        "to hosts=[…] of redirect_app."
    )


class PlainPort(_RedirectApp):
    """What `--tls-redirect-port` serves: `hosts` are the names of the certificates."""

    def __init__(self, hosts: Collection[str], https_port: int, webroot: str | os.PathLike[str] | None) -> None:
        super().__init__(_nothing_here, hosts=hosts, https_port=https_port, webroot=webroot)

    @staticmethod
    def _allowed(hosts: Iterable[str]) -> AllowedHosts:
        return CertificateHosts([*hosts])


async def _nothing_here(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
    else:
        await _NOT_FOUND(scope, receive, send)
