"""uvicorn: its public hook `ssl_context_factory`, and the protocol class that it has chosen by then.

An app learns of its connection by `current_connection`, which the tasks that serve a connection inherit. With
`--reset-contextvars` they inherit nothing: then the protocol class gets a subclass that gives each connection a copy of
the configuration, whose app knows the connection. `Config.load` sets `http_protocol_class`, then calls the factory,
then sets `loaded_app`; the protocol is made with `config=`, and each protocol it switches to (WebSocket, HTTP/2) takes
`config.loaded_app` again. It would break if uvicorn took the app from elsewhere, and tests/servers would show it: the
demo would say nothing of the connection.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from asgi_tls.connection import HasConnection, current_connection
from asgi_tls.errors import ASGITLSError
from asgi_tls.renewal.sighup import reload_on_sighup
from asgi_tls.servers import STARTUP_FAILURE
from asgi_tls.servers.logs import follow

if TYPE_CHECKING:
    import uvicorn

    from asgi_tls.server import ServerTLS


class UvicornContextFactory:
    """The value of `ssl_context_factory`. Picklable: uvicorn's workers and reloader are spawned."""

    def __init__(self, tls: ServerTLS) -> None:
        self.tls = tls
        self._known: Mapping[str, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        # Pickled for each worker that is started, also for those that take the place of others: they get what was good
        # last, so that bad files take down no server that runs.
        self._known = self.tls.good(self._known)
        return self.__dict__

    def __call__(self, config: uvicorn.Config, _default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        """Make the context, once in each worker, inside its event loop. Exits with status 3 where it cannot be made."""
        follow("uvicorn.error")
        # Set by protocols that speak HTTP/2; the others leave ALPN to us.
        alpn = getattr(config.http_protocol_class, "alpn_protocols", None) or ["http/1.1"]
        try:
            context = self.tls.create_server_context(alpn=alpn, watch=True, known=self._known)
        except ASGITLSError as error:
            # An exception would end the worker with status 1, and a parent would start it again for ever.
            logging.getLogger("uvicorn.error").error("TLS cannot start: %s %s", error, error.more)  # noqa: TRY400 -- no traceback
            sys.exit(STARTUP_FAILURE)
        reload_on_sighup(context)
        if config.reset_contextvars:
            config.http_protocol_class = _observed(config.http_protocol_class)
        return context.ssl_context


class _Slot:
    """Where a connection leaves its handshake for the app that serves it."""

    handshake: HasConnection | None = None


def _observed(protocol_class: type[asyncio.Protocol]) -> type[asyncio.Protocol]:
    base: Any = protocol_class

    class Observed(base):  # type: ignore[misc]  # the base is chosen at run time
        def __init__(self, config: uvicorn.Config, *args: Any, **kwargs: Any) -> None:
            self._asgi_tls = _Slot()
            own = object.__new__(type(config))  # a shallow copy; copy.copy takes five times as long
            vars(own).update(vars(config))
            own.loaded_app = _with_connection(config.loaded_app, self._asgi_tls)
            super().__init__(own, *args, **kwargs)

        def connection_made(self, transport: asyncio.Transport) -> None:
            self._asgi_tls.handshake = transport.get_extra_info("ssl_object")
            super().connection_made(transport)

    Observed.__name__ = Observed.__qualname__ = protocol_class.__name__
    return Observed


def _with_connection(app: Any, slot: _Slot) -> Any:
    async def connected_app(scope: Any, receive: Any, send: Any) -> None:
        # The app runs in a task of its own, so nothing has to be restored.
        current_connection.set(slot.handshake)
        await app(scope, receive, send)

    return connected_app
