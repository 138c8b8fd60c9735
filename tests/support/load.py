"""A client that makes load: connections one after the other, and requests on connections that stay open."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from patience import PATIENCE


@dataclass(frozen=True)
class Answer:
    """A response: its head without the empty line, and its body."""

    head: bytes
    body: bytes

    def field(self, name: bytes) -> bytes | None:
        """The value of a header field, if there is one."""
        found = re.search(rb"(?i)^%s: *(.*?)\r?$" % name, self.head, re.MULTILINE)
        return None if found is None else found[1]

    @property
    def worker(self) -> int:
        """The process that has answered."""
        found = self.field(b"worker")
        assert found is not None, self.head
        return int(found)


@contextlib.contextmanager
def connected(
    port: int, context: ssl.SSLContext, *, host: str = "localhost", session: ssl.SSLSession | None = None
) -> Iterator[ssl.SSLSocket]:
    """A connection after its handshake. Raises OSError."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with context.wrap_socket(raw, server_hostname=host, session=session) as secure:
            yield secure


def fetch(secure: ssl.SSLSocket, path: str = "/", *, close: bool = False) -> Answer:
    """The answer to a GET; with `close`, the server is asked to close the connection behind it."""
    ending = "Connection: close\r\n" if close else ""
    secure.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{ending}\r\n".encode("ascii"))
    return read(secure.recv)


def read(receive: Callable[[int], bytes]) -> Answer:
    """One answer, by its Content-Length. Raises ConnectionError if it is not 200, or not complete."""
    data = bytearray()
    while b"\r\n\r\n" not in data:
        data += received(receive(65_536))
    head, _, body = bytes(data).partition(b"\r\n\r\n")
    length = Answer(head, b"").field(b"content-length")
    if length is None or b" 200 " not in head.partition(b"\r\n")[0]:
        raise ConnectionError(f"not the answer that was asked for: {head!r}")
    parts, left = [body], int(length) - len(body)
    while left > 0:
        parts.append(received(receive(65_536)))
        left -= len(parts[-1])
    return Answer(head, b"".join(parts))


def received(data: bytes) -> bytes:
    if not data:
        raise ConnectionError("the server has closed the connection in the middle of an answer")
    return data


def drain(secure: ssl.SSLSocket) -> None:
    """Until the server has closed the connection."""
    while secure.recv(65_536):
        pass


def visit(port: int, context: ssl.SSLContext) -> None:
    """A new connection with one request. Raises OSError."""
    with connected(port, context) as secure:
        fetch(secure, close=True)
        drain(secure)


@dataclass
class Load:
    """New connections as fast as one client can, and requests of another one on a connection that stays open.

    `lost` has what failed: a connection, or a request that was sent. `closed` counts the kept connections that ended
    without a request in progress, and `longest` is the seconds of the slowest of both.
    """

    port: int
    context: ssl.SSLContext
    connections: int = 0
    requests: int = 0
    closed: int = 0
    longest: float = 0.0
    lost: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Make load until the context manager is left."""
        stop = threading.Event()
        threads = [threading.Thread(target=self._again, args=(action, stop)) for action in (self._new, self._kept)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def _again(self, action: Callable[[threading.Event], None], stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                action(stop)
            except OSError as error:
                self.lost.append(f"{action.__name__}: {error!r}")
                stop.wait(0.1)

    def _new(self, _stop: threading.Event) -> None:
        started = time.perf_counter()
        visit(self.port, self.context)
        self.longest = max(self.longest, time.perf_counter() - started)
        self.connections += 1

    def _kept(self, stop: threading.Event) -> None:
        with connected(self.port, self.context) as secure:
            while not stop.is_set():
                started = time.perf_counter()
                if _has_ended(secure):
                    self.closed += 1
                    return
                answer = fetch(secure)
                self.longest = max(self.longest, time.perf_counter() - started)
                self.requests += 1
                if answer.field(b"connection") == b"close":  # some servers allow a thousand requests on a connection
                    return


def _has_ended(secure: ssl.SSLSocket) -> bool:
    """Whether the server has closed a connection on which nothing is expected."""
    timeout = secure.gettimeout()
    secure.setblocking(False)
    try:
        return not secure.recv(1)
    except ssl.SSLWantReadError:
        return False
    finally:
        secure.settimeout(timeout)
