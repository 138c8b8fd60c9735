"""An accepted connection: its socket, the address at the other end, and whether its outcome was told."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Final

from asgi_tls.addresses import address_of


class Peer(socket.socket):
    """One accepted connection, as a socket.

    `family` and `type` are told here: asyncio and uvloop ask for them three times a connection, and the standard
    library makes an enum of a number each time, which takes longer than accepting the connection.
    """

    __slots__ = ("family", "ip", "loop", "port", "spoke", "started", "told")
    type = socket.SOCK_STREAM

    family: socket.AddressFamily
    ip: str | None
    port: int | None
    loop: asyncio.AbstractEventLoop
    started: float  # by time.perf_counter
    spoke: bool
    told: bool


def accept(
    listening: socket.socket,
    family: socket.AddressFamily,
    loop: asyncio.AbstractEventLoop,
    admits: Callable[[str], bool] | None,
) -> Peer | None:
    """The next connection to a listening stream socket of this family; None where its address may not connect.

    Raises OSError.
    """
    # What `socket.accept` calls, to the same effect but for the class of what it makes.
    descriptor, address = listening._accept()  # type: ignore[attr-defined]  # since Python 3.2
    ip, port = address_of(address)
    if admits is not None and ip is not None and not admits(ip):
        socket.close(descriptor)
        return None
    # With its protocol, so that asyncio sets TCP_NODELAY; without that, answers wait 40 ms. uvloop sets it anyway.
    protocol = 0 if family == socket.AF_UNIX else socket.IPPROTO_TCP
    peer = Peer(family, socket.SOCK_STREAM, protocol, descriptor)
    peer.family, peer.loop, peer.started = family, loop, time.perf_counter()
    peer.ip, peer.port = ip, port
    peer.spoke = peer.told = False
    return peer


current_peer: Final[ContextVar[Peer | None]] = ContextVar("asgi_tls.peer", default=None)
"""Set around each accepted connection by `accept.py`, and read when its TLSObject is made."""
