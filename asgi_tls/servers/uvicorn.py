"""uvicorn: its public hook `ssl_context_factory`, and the protocol class that it has chosen by then.

`Config.load` sets `http_protocol_class`, then calls the factory, then sets `loaded_app`; the protocol is made with
`config=`, and each protocol it switches to (WebSocket, HTTP/2) takes `config.loaded_app` again. So the class gets a
subclass that gives each connection a copy of the configuration, whose app knows the connection. It would break if
uvicorn took the app from elsewhere, and tests/servers would show it: the demo would say nothing of the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import uvicorn

from asgi_tls.connection import HasConnection, current_connection
from asgi_tls.errors import ASGITLSError
from asgi_tls.servers import STARTUP_FAILURE
from asgi_tls.servers.logs import follow

if TYPE_CHECKING:
    from asgi_tls.server import ServerTLS
    from asgi_tls.servers.plain import PlainListener


class UvicornContextFactory:
    """The value of `ssl_context_factory`. Picklable: uvicorn's workers and reloader are spawned."""

    def __init__(self, tls: ServerTLS, plain: PlainListener | None = None) -> None:
        self.tls = tls
        self.plain = plain

    def __call__(self, config: uvicorn.Config, _default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        """Make the context, once in each worker, inside its event loop. Exits with status 3 where it cannot be made."""
        follow("uvicorn.error")
        # Set by protocols that speak HTTP/2; the others leave ALPN to us.
        alpn = getattr(config.http_protocol_class, "alpn_protocols", None) or ["http/1.1"]
        try:
            context = self.tls.create_context(alpn=alpn)
            if self.plain is not None:
                _serve_plain(self.plain.app(self.tls), self.plain)
        except ASGITLSError as error:
            # An exception would end the worker with status 1, and a parent would start it again for ever.
            logging.getLogger("uvicorn.error").error("TLS cannot start: %s", error)  # noqa: TRY400 -- no traceback
            sys.exit(STARTUP_FAILURE)
        config.http_protocol_class = _observed(config.http_protocol_class)
        return context


def _serve_plain(app: Any, plain: PlainListener) -> None:
    """Serve the plain port with a uvicorn of its own, for as long as this event loop runs."""
    server = _PlainServer(
        uvicorn.Config(app, lifespan="off", log_config=None, proxy_headers=False, server_header=False)
    )
    task = asyncio.get_running_loop().create_task(server.run_beside(plain.socket))
    _plain_tasks.add(task)  # a loop holds its tasks weakly
    task.add_done_callback(_plain_tasks.discard)


_plain_tasks: set[asyncio.Task[None]] = set()


class _PlainServer(uvicorn.Server):
    """Leaves the signals to the main server, and ends when the loop cancels what is left."""

    def capture_signals(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    async def run_beside(self, sock: socket.socket) -> None:
        try:
            await self.serve(sockets=[sock])
        except asyncio.CancelledError:
            await self.shutdown(sockets=[sock])
            raise


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
