"""The TLS connection of a request, for applications: the ASGI `tls` extension, and `tls_connection(scope)`.

    from asgi_tls import tls_connection

    @app.get("/tls")
    def tls(request: Request):
        connection = tls_connection(request.scope)   # None over plain HTTP

Both work under uvicorn, hypercorn and gunicorn's ASGI worker, wherever the context comes from a ServerTLS. They
describe the connection to this server that the scope is about. Behind a proxy that terminates TLS there is none, and
none for a scope that something else has made: a test client, another server in the same process, a call in a background
task. Over HTTP/3 in hypercorn, the group and the name that the client asked for are not known: aioquic does not
expose them.

The extension has every key of its version 0.2. The draft of the next version keeps only `client_cert_chain`, in the
same form, so both kinds of readers find what they look for. What a server fills in by itself is left as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asgi_tls.connection import CONNECTION, TLSConnection

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Receive, Scope, Send


class ConnectionMiddleware:
    """Fills `scope["extensions"]["tls"]` for each request and WebSocket that came over TLS."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the scope on, with the extension where there is TLS."""
        await self.app(with_connection(scope), receive, send)


def with_connection(scope: Scope) -> Scope:
    """The scope with the `tls` extension, where the request came over TLS; the given one stays as it is."""
    connection = tls_connection(scope)
    if connection is None:
        return scope
    extensions = scope.get("extensions") or {}
    return {**scope, "extensions": {**extensions, "tls": {**connection.extension, **(extensions.get("tls") or {})}}}


def tls_connection(scope: Scope) -> TLSConnection | None:
    """The facts of the TLS connection that this request came over; None over plain HTTP and where they are unknown."""
    connection: Callable[[], TLSConnection | None] | None = scope.get(CONNECTION)
    return None if connection is None else connection()
