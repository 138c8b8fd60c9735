"""The plain port beside the TLS port: redirects to https, and ACME challenges.

It runs in a thread of the process that was started, on the same server software, so that workers come and go without
it. Signals stay with the main thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from asgi_tls.errors import ConfigurationError
from asgi_tls.middleware import redirect_app

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from asgi_tls.server import ServerTLS


def leading_to(tls: ServerTLS, *, https_port: int, webroot: str | None) -> ASGIApp:
    """An application that redirects to the hosts that the served certificates name, and refuses others.

    Raises ConfigurationError, CertificateError.
    """
    if https_port == 0:
        raise ConfigurationError(
            "the plain port has to know the TLS port to lead to it", fix="Give the TLS port a fixed number."
        )
    if webroot is not None and not os.path.isdir(webroot):  # noqa: PTH112 -- a path as the user wrote it
        raise ConfigurationError(f"the webroot {webroot} is no directory", fix="Make it, or name another.")
    hosts = {name for group in tls.load().values() for one in group for name in one.subject_alt_names}
    return redirect_app(hosts=hosts, https_port=https_port, webroot=webroot)


def bound(host: str, port: int) -> socket.socket:
    """A socket that has the port. Raises ConfigurationError."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise ConfigurationError(
            f"cannot listen on {host} port {port}: {error.strerror}",
            fix="Choose another port, or stop what uses it; ports below 1024 need CAP_NET_BIND_SERVICE.",
        ) from None
    return sock


@contextlib.contextmanager
def on_uvicorn(app: ASGIApp, sock: socket.socket) -> Iterator[None]:
    """Serve the application on the socket with uvicorn, until the block is left."""
    import uvicorn

    config = uvicorn.Config(app, lifespan="off", log_config=None, proxy_headers=False, server_header=False)
    server = uvicorn.Server(config)  # outside the main thread, it leaves signals alone
    thread = threading.Thread(target=server.run, args=([sock],), name="asgi_tls plain port", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(5)


@contextlib.contextmanager
def on_hypercorn(app: ASGIApp, sock: socket.socket) -> Iterator[None]:
    """Serve the application on the socket with hypercorn, until the block is left."""
    import hypercorn.asyncio
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"fd://{sock.detach()}"]
    config.include_server_header = False
    config.errorlog = None
    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    def run() -> None:
        with contextlib.closing(loop):
            loop.run_until_complete(hypercorn.asyncio.serve(app, config, shutdown_trigger=stop.wait))  # type: ignore[arg-type]

    thread = threading.Thread(target=run, name="asgi_tls plain port", daemon=True)
    thread.start()
    try:
        yield
    finally:
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself
            loop.call_soon_threadsafe(stop.set)
        thread.join(5)
