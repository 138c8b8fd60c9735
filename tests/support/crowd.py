"""Many clients that connect and say nothing."""

from __future__ import annotations

import contextlib
import resource
import selectors
import socket
import time
from collections.abc import Iterator


def allow_descriptors(count: int) -> None:
    """Raise the limit of this process and of the servers that it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard) if hard > 0 else count, hard))


@contextlib.contextmanager
def silent(port: int, count: int) -> Iterator[list[socket.socket]]:
    """This many open connections."""
    with contextlib.ExitStack() as stack:
        sockets = []
        for number in range(count):
            # Several source addresses: one has too few ports for repeated runs.
            sock = stack.enter_context(socket.socket())
            sock.settimeout(20)
            sock.bind((f"127.0.0.{2 + number % 50}", 0))
            sock.connect(("127.0.0.1", port))
            sockets.append(sock)
        yield sockets


def closed(sockets: list[socket.socket], timeout: float) -> int:
    """How many of them the server has closed, waiting for all of them that long."""
    selector = selectors.DefaultSelector()
    for sock in sockets:
        sock.setblocking(False)
        selector.register(sock, selectors.EVENT_READ)
    left, deadline = len(sockets), time.monotonic() + timeout
    while left and time.monotonic() < deadline:
        for key, _ in selector.select(0.2):
            sock = key.fileobj  # type: ignore[assignment]
            with contextlib.suppress(ConnectionError):
                assert sock.recv(1) == b""
            selector.unregister(sock)
            left -= 1
    selector.close()
    return len(sockets) - left
