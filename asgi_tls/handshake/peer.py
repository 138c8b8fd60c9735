"""One accepted connection: its socket, the address at the other end, and how it is ended.

Closing a socket that still has unread data in it makes the kernel send a reset, and a reset destroys what the peer has
not read yet: the alert, or the HTTP answer. So `send_and_close` duplicates the socket, the event loop closes its own,
and the duplicate is drained for a short while.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

HANDSHAKE_RECORD: Final = 0x16
"""RFC 8446 section 5.1: the content type of the first byte of every handshake."""

_MAPPED: Final = "::ffff:"

_LINGER_SECONDS: Final = 2.0
_LINGER_BYTES: Final = 1 << 18
_CHUNK: Final = 1 << 16
# Sockets that linger at the same time in one process; those above it are closed at once, and may reset.
_LINGER_LIMIT: Final = 512

_lingering: set[int] = set()

_UNIX: Final = getattr(socket, "AF_UNIX", None)
_DONTWAIT: Final = getattr(socket, "MSG_DONTWAIT", 0)  # Windows has none, and nothing there gets as far as here

LET_GO_AFTER: Final = 0.1
"""Seconds until the tasks of a server have seen the error that ends their connection."""

# Seconds for the peer's close_notify. RFC 8446 section 6.1 does not ask to wait for it; asyncio and uvloop do, for 30.
_CLOSE_NOTIFY: Final = 1.0
# Connections that begin to end within these seconds share a timer: one for each would wake the loop for each.
_TOGETHER: Final = 0.1

Address = tuple[str | None, int | None]
"""IP address and port, None and None where there are none: over a unix socket."""

NOWHERE: Final[Address] = None, None


@dataclass
class Ending:
    """How long the connections of a server may take to end, in seconds: what is left to send included.

    `together` are those that share the last timer, to which no more are added after the moment `until`.
    """

    seconds: float = 30.0
    together: list[Peer] | None = None
    until: float = 0.0


class Peer(socket.socket):
    """One accepted connection, as a socket.

    `family` and `type` are set here: asyncio and uvloop ask for them three times a connection, and the standard
    library makes an enum of a number each time, which takes longer than accepting the connection.
    """

    __slots__ = (
        "family", "peer_address", "peer_ending", "peer_has_sent", "peer_loop", "peer_reported", "peer_started",
    )  # fmt: skip
    type = socket.SOCK_STREAM

    family: socket.AddressFamily
    peer_address: Address
    peer_loop: asyncio.AbstractEventLoop
    peer_ending: Ending
    peer_started: float  # by time.perf_counter
    peer_has_sent: bool
    peer_reported: bool  # how its handshake ended


def accept(
    listening: socket.socket,
    family: socket.AddressFamily,
    loop: asyncio.AbstractEventLoop,
    admits: Callable[[str], bool] | None,
    ending: Ending,
) -> Peer | None:
    """The next connection to a listening stream socket of this family; None where its address may not connect.

    Raises OSError.
    """
    # What `socket.accept` calls, to the same effect but for the class of what it makes.
    descriptor, address = listening._accept()  # type: ignore[attr-defined]  # since Python 3.2
    found = address_of(address)
    if admits is not None and found[0] is not None and not admits(found[0]):
        socket.close(descriptor)
        return None
    # With its protocol, so that asyncio sets TCP_NODELAY; without that, answers wait 40 ms. uvloop sets it anyway.
    protocol = 0 if family == _UNIX else socket.IPPROTO_TCP
    peer = Peer(family, socket.SOCK_STREAM, protocol, descriptor)
    peer.family, peer.peer_loop, peer.peer_started = family, loop, time.perf_counter()
    peer.peer_address, peer.peer_ending = found, ending
    peer.peer_has_sent = peer.peer_reported = False
    return peer


current_peer: Final[ContextVar[Peer | None]] = ContextVar("asgi_tls.peer", default=None)
"""Set around each accepted connection by `accept.py`, and read when its TLSObject is made."""


def address_of(address: object) -> Address:
    """The IP address and port in a socket address."""
    if not isinstance(address, tuple):
        return NOWHERE
    ip: str = address[0]
    if ip.startswith(_MAPPED) and "." in ip:  # an IPv4 client of an IPv6 socket (RFC 4291 section 2.5.5.2)
        ip = ip.removeprefix(_MAPPED)
    return ip, address[1]


def has_left(peer: Peer) -> bool:
    """Whether a peer that can be read from has closed the connection, so that no handshake can be finished."""
    try:
        first = peer.recv(1, socket.MSG_PEEK | _DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
    peer.peer_has_sent = bool(first)
    # Half closed behind a ClientHello. Behind a request in plain HTTP, the client may still want the answer.
    return not first or (first[0] == HANDSHAKE_RECORD and _is_half_closed(peer))


def _is_half_closed(sock: socket.socket) -> bool:
    if not hasattr(select, "POLLRDHUP"):  # Linux alone can tell while there is data to read
        return False
    poll = select.poll()
    poll.register(sock, select.POLLRDHUP)
    return bool(poll.poll(0))


def local_address(sock: socket.socket) -> Address:
    """What the client has connected to."""
    try:
        return address_of(sock.getsockname())
    except OSError:
        return NOWHERE


def end(peer: Peer) -> None:
    """From now on the loop waits for the peer's close_notify: end the connection for it soon.

    Reading ends first, so that what is left to send is still sent. The loops detach a socket that they have closed.
    """
    ending, now = peer.peer_ending, time.perf_counter()
    if ending.together is None or now >= ending.until:
        limit = min(_CLOSE_NOTIFY, ending.seconds)
        ending.together, ending.until = [], now + min(_TOGETHER, limit / 2)
        peer.peer_loop.call_later(limit, _end_reading, ending, ending.together)
    ending.together.append(peer)


def _end_reading(ending: Ending, together: list[Peer]) -> None:
    if ending.together is together:
        ending.together = None
    for peer in together:
        if peer.fileno() == -1:
            continue
        with contextlib.suppress(OSError):
            peer.shutdown(socket.SHUT_RD)
            peer.peer_loop.call_later(max(peer.peer_ending.seconds - _CLOSE_NOTIFY, 0), _end_writing, peer)


def _end_writing(peer: Peer) -> None:
    with contextlib.suppress(OSError):
        peer.shutdown(socket.SHUT_RDWR)


def send_and_close(loop: asyncio.AbstractEventLoop, sock: socket.socket, data: bytes) -> None:
    """Send the last data, and close the connection without a reset. The caller's socket may be closed right after."""
    try:
        own = sock.dup()
    except OSError:  # no descriptor left, or the socket is closed already
        with contextlib.suppress(OSError):
            sock.send(data)
        return
    own.setblocking(False)
    try:
        own.send(data)
        own.shutdown(socket.SHUT_WR)
    except OSError:
        own.close()
        return
    if len(_lingering) >= _LINGER_LIMIT:
        own.close()
    else:
        _Draining(loop, own)


class _Draining:
    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        self._loop, self._sock, self._left = loop, sock, _LINGER_BYTES
        self._descriptor = sock.fileno()
        _lingering.add(self._descriptor)
        loop.add_reader(self._descriptor, self._drain)
        self._timer = loop.call_later(_LINGER_SECONDS, self._end)

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


def close_blocking(sock: socket.socket) -> None:
    """The same for a blocking socket that has sent its last data: read what has arrived, without waiting for more."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_WR)
    with contextlib.suppress(OSError):
        left = _LINGER_BYTES
        while left > 0 and (data := sock.recv(_CHUNK, _DONTWAIT)):
            left -= len(data)


def let_go(error: BaseException | None) -> None:
    """Drop the frames that an error came through.

    They hold the error in turn, and the connection with its buffer of 256 kB (asyncio), until the garbage collector
    comes: some thousand connections later.
    """
    while error is not None:
        error.__traceback__, error = None, error.__context__
