"""Listening sockets, bound the way asyncio binds them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
from collections.abc import Iterable
from typing import Any


async def bind(loop: asyncio.AbstractEventLoop, host: Any, port: Any, options: dict[str, Any]) -> list[socket.socket]:
    """Sockets for each address of each host, bound as asyncio binds them."""
    hosts: Iterable[Any] = [None] if host in {"", None} else [host] if isinstance(host, str) else host
    family, flags = options.get("family") or socket.AF_UNSPEC, options.get("flags", socket.AI_PASSIVE)
    found: dict[tuple[Any, ...], None] = {}
    for name in hosts:
        for info in await loop.getaddrinfo(name, port, family=family, type=socket.SOCK_STREAM, flags=flags):
            found[(*info[:3], info[4])] = None
    with contextlib.ExitStack() as undo:
        sockets = []
        for kind, type_, protocol, address in found:
            try:
                sock = socket.socket(kind, type_, protocol)
            except OSError:  # a family that this kernel does not have
                continue
            undo.callback(sock.close)
            if options.get("reuse_address") is not False:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if options.get("reuse_port"):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if kind == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                sock.bind(address)
            except OSError as error:
                why = os.strerror(error.errno or 0).lower()
                raise OSError(error.errno, f"error while attempting to bind on address {address!r}: {why}") from None
            sockets.append(sock)
        undo.pop_all()
    return sockets


def bind_unix(path: Any) -> socket.socket:
    """A unix socket, in the place of one that an earlier process left behind."""
    path = os.fspath(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    if path[:1] not in {"\0", b"\0"}:
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISSOCK(os.stat(path).st_mode):  # noqa: PTH116 -- the path may be bytes
                os.remove(path)  # noqa: PTH107
    try:
        sock.bind(path)
    except OSError:
        sock.close()
        raise
    return sock


def as_it_is(sock: socket.socket) -> socket.socket:
    """The socket under its true family: uvicorn calls every socket that it inherits by number a unix socket."""
    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN) == sock.family:
        return sock
    return socket.socket(fileno=sock.detach())
