"""Ports for programs that cannot choose one themselves, or do not say which one they have."""

from __future__ import annotations

import contextlib
import random
import socket


def free_ports(count: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> list[int]:
    """Ports that nobody has, below those that the system gives to clients: no connection takes one in between."""
    found: dict[int, socket.socket] = {}
    with contextlib.ExitStack() as probes:
        while len(found) < count:
            port = random.randrange(10_000, 32_000)
            probe = probes.enter_context(socket.socket(type=kind))
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                found[port] = probe
    return list(found)


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """One of them."""
    return free_ports(1, kind)[0]
