"""Addresses as sockets tell them."""

from __future__ import annotations

import socket
from typing import Final

_MAPPED: Final = "::ffff:"


def address_of(address: object) -> tuple[str | None, int | None]:
    """IP address and port of what a socket calls an address, None and None for a unix socket."""
    if not isinstance(address, tuple):
        return None, None
    ip: str = address[0]
    if ip.startswith(_MAPPED) and "." in ip:  # an IPv4 client of an IPv6 socket (RFC 4291 section 2.5.5.2)
        ip = ip.removeprefix(_MAPPED)
    return ip, address[1]


def local_port(sock: socket.socket) -> int | None:
    """The port that was connected to, None over a unix socket."""
    try:
        address = sock.getsockname()
    except OSError:
        return None
    return address[1] if isinstance(address, tuple) else None
