"""uvicorn: its public hook `ssl_context_factory`, and the protocol class that it has chosen by then.

The application learns about its connection from the object that serves it: in each of uvicorn's protocols, `receive` is
a method of the object that holds the transport. `Config.load` sets `http_protocol_class`, then calls the factory,
then sets `loaded_app`, so the application is wrapped when the first connection comes; each protocol that it switches to
(WebSocket, HTTP/2) takes `config.loaded_app` again. It would break if uvicorn took the application from elsewhere, and
tests/servers would show it: the application would learn nothing about its connection.
"""

from __future__ import annotations

import asyncio
import inspect
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from asgi_tls.connection import connected
from asgi_tls.renewal.sighup import reload_on_sighup
from asgi_tls.servers.ignored import IGNORED, python_error
from asgi_tls.servers.logs import stop
from asgi_tls.servers.worker import ContextMaker

if TYPE_CHECKING:
    import uvicorn


class UvicornContextFactory(ContextMaker):
    """The value of `ssl_context_factory`. Picklable: uvicorn's workers and reloader are spawned."""

    server_logger = "uvicorn.error"

    def __call__(self, config: uvicorn.Config, _default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        """Make the context, once in each worker, inside its event loop. Exits with status 3 where it cannot be made."""
        for name, parameter in inspect.signature(type(config)).parameters.items():
            if name in IGNORED and getattr(config, name) != parameter.default:
                stop(python_error("uvicorn", name), self.server_logger)
        # Set by protocols that speak HTTP/2; the others leave ALPN to us.
        alpn = getattr(config.http_protocol_class, "alpn_protocols", None) or ["http/1.1"]
        context = self.make(alpn, config.timeout_graceful_shutdown)
        reload_on_sighup(context)
        config.http_protocol_class = _first(config.http_protocol_class)
        return context.ssl_context


def _first(protocol_class: Any) -> Any:
    """Stands in for the protocol class until the first connection comes, when the configuration has its application."""

    def make(config: uvicorn.Config, **rest: Any) -> asyncio.Protocol:
        config.http_protocol_class = protocol_class
        config.loaded_app = _connected(config.loaded_app)
        made: asyncio.Protocol = protocol_class(config=config, **rest)
        return made

    return make


def _connected(app: Any) -> Any:
    def connected_app(scope: Any, receive: Any, send: Any) -> Any:
        handshake = receive.__self__.transport.get_extra_info("ssl_object")
        return connected(app, handshake)(scope, receive, send)

    return connected_app
