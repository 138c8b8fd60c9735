"""Last words on a connection: send them, end our side, and leave the socket open until the peer has read them.

Closing a socket that still has unread data in it makes the kernel send a reset, and a reset destroys what the peer has
not read yet: the alert, or the HTTP answer. So the socket is duplicated, the event loop closes its own, and the
duplicate is drained for a short while.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Final

_SECONDS: Final = 2.0
_BYTES: Final = 1 << 18
_CHUNK: Final = 1 << 16
# Sockets that linger at the same time in one process; those above it are closed at once, and may reset.
_LIMIT: Final = 512

_lingering: set[int] = set()


def part(loop: asyncio.AbstractEventLoop, sock: socket.socket, last_words: bytes) -> None:
    """Send `last_words`, and end the connection gently. The caller's socket may be closed right after this."""
    try:
        own = sock.dup()
    except OSError:  # no descriptor left, or the socket is closed already
        with contextlib.suppress(OSError):
            sock.send(last_words)
        return
    own.setblocking(False)
    try:
        own.send(last_words)
        own.shutdown(socket.SHUT_WR)
    except OSError:
        own.close()
        return
    if len(_lingering) >= _LIMIT:
        own.close()
    else:
        _Draining(loop, own)


class _Draining:
    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        self._loop, self._sock, self._left = loop, sock, _BYTES
        self._descriptor = sock.fileno()
        _lingering.add(self._descriptor)
        loop.add_reader(self._descriptor, self._drain)
        self._timer = loop.call_later(_SECONDS, self._end)

    def _drain(self) -> None:
        try:
            size = len(self._sock.recv(_CHUNK))
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            size = 0
        self._left -= size
        if not size or self._left <= 0:
            self._timer.cancel()
            self._end()

    def _end(self) -> None:
        self._loop.remove_reader(self._descriptor)
        _lingering.discard(self._descriptor)
        self._sock.close()


def part_blocking(sock: socket.socket) -> None:
    """The same for a blocking socket whose last words are sent: what has arrived is read, and nothing is waited for."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_WR)
    with contextlib.suppress(OSError):
        left = _BYTES
        while left > 0 and (data := sock.recv(_CHUNK, socket.MSG_DONTWAIT)):
            left -= len(data)
