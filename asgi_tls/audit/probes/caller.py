"""Connections to the target: each step has a time limit, and so has the whole audit."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol

from asgi_tls.audit.probes.target import Target
from asgi_tls.errors import UnreachableError

# Times --timeout. A server that uses nearly all of each step's time is audited in a third of it.
_STEPS: Final = 60


class Stream(Protocol):
    """Bytes there and back. Everything raises TimeoutError when the time of `within` has passed, else OSError."""

    def within(self, seconds: float) -> None:
        """The time for what follows, from now on."""

    def send(self, data: bytes) -> None: ...

    def receive(self) -> bytes:
        """Some bytes, none at the end."""


class TCPStream:
    """A stream over a connected socket."""

    def __init__(self, sock: socket.socket, seconds: float) -> None:
        self._socket = sock
        self.within(seconds)

    def within(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds

    def send(self, data: bytes) -> None:
        self._limit()
        self._socket.sendall(data)

    def receive(self) -> bytes:
        self._limit()
        return self._socket.recv(65536)

    def _limit(self) -> None:
        """A deadline, and no limit for each read: bytes may arrive one by one."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)


class Caller:
    """Connects to one target, always to the address that answered first, and counts the connections.

    Every thread of the audit shares one. After `stop`, or when the whole audit has taken too long, it connects no more
    and raises UnreachableError.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self.connections = 0
        self._limit = _STEPS * target.timeout
        self._end = time.monotonic() + self._limit
        self._address: tuple[int, Any] | None = None
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()

    @property
    def address(self) -> str:
        """The IP address of the target, empty before `find`."""
        return "" if self._address is None else str(self._address[1][0])

    def find(self) -> None:
        """Choose the address to call: the first that accepts a connection. Raises UnreachableError."""
        host, port = self.target.connect or (self.target.host, self.target.port)
        failure: OSError | None = None
        for family, sockaddr in _resolve(host, port):
            try:
                with self._connected(family, sockaddr):
                    self._address = family, sockaddr
                    return
            except OSError as error:
                failure = error
        raise UnreachableError(
            f"{self.target} does not answer on {host} port {port}: {failure}",
            fix="Check that the server is running there, and that no firewall blocks the port.",
        )

    @contextmanager
    def call(self, port: int | None = None) -> Iterator[TCPStream]:
        """A connection to the HTTPS port, or to another one at the same address. Raises OSError."""
        if self._address is None:
            self.find()
        assert self._address is not None  # noqa: S101 -- found, or raised
        family, (host, usual, *rest) = self._address
        with self._connected(family, (host, usual if port is None else port, *rest)) as stream:
            yield stream

    def stop(self) -> None:
        """End the audit: nothing connects any more, and what is connected ends at once."""
        self._end = 0.0
        with self._lock:
            for sock in self._open:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    @contextmanager
    def _connected(self, family: int, sockaddr: Any) -> Iterator[TCPStream]:
        self._go_on()
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            with self._lock:
                self.connections += 1
                self._open.add(sock)
            try:
                yield self._connect(sock, sockaddr)
            finally:
                with contextlib.suppress(OSError):  # FIN and not RST, where that is possible
                    sock.shutdown(socket.SHUT_WR)
                with self._lock:
                    self._open.discard(sock)

    def _connect(self, sock: socket.socket, sockaddr: Any) -> TCPStream:
        sock.settimeout(self.target.timeout)
        sock.connect(sockaddr)
        self._go_on()  # `stop` cannot end what is not connected yet
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return TCPStream(sock, self.target.timeout)

    def _go_on(self) -> None:
        if time.monotonic() > self._end:
            raise UnreachableError(
                f"{self.target} answers so slowly that the audit was stopped after {self._limit:g} seconds",
                fix="Repeat it with a longer --timeout, from a place that is nearer to the server.",
            )


def _resolve(host: str, port: int) -> list[tuple[int, Any]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise UnreachableError(
            f"{host} does not resolve to an address", fix="Check the name, or give the address: --connect HOST:PORT."
        ) from None
    return list(dict.fromkeys((family, sockaddr) for family, _, _, _, sockaddr in found))
