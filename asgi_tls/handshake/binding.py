"""Listening sockets: those that the loop itself binds, and those that a server was given."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from typing import Any


async def bound(create: Callable[..., Any], *where: Any, options: dict[str, Any]) -> list[socket.socket]:
    """What the loop's own `create_server` or `create_unix_server` binds. Its server never listens: we listen on copies.

    Raises what it raises.
    """
    options = {name: value for name, value in options.items() if not name.startswith("ssl_")}
    unused: asyncio.Server = await create(asyncio.Protocol, *where, **{**options, "start_serving": False})
    try:
        return [socket.socket(fileno=os.dup(each.fileno())) for each in unused.sockets]
    finally:
        unused.close()


def as_it_is(sock: socket.socket) -> socket.socket:
    """The socket under its true family: uvicorn calls every socket that it inherits by number a unix socket."""
    if _true_family(sock) == sock.family:
        return sock
    return socket.socket(fileno=sock.detach())


def _true_family(sock: socket.socket) -> int:
    if hasattr(socket, "SO_DOMAIN"):
        return sock.getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN)
    with socket.socket(fileno=os.dup(sock.fileno())) as same:  # macOS: Python asks the socket for its address
        return same.family
