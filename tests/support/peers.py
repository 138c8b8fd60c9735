"""Servers and clients that go wrong in one way each, and what Python says of it."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


def server_context(certfile: Path, keyfile: Path, *, security: int = 2) -> ssl.SSLContext:
    """Python's own, as lax as asked: what it serves need not be good."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(f"DEFAULT:@SECLEVEL={security}")
    context.load_cert_chain(certfile, keyfile)
    return context


@contextlib.contextmanager
def listening(handle: Callable[[socket.socket], None], said: list[str] | None = None) -> Iterator[int]:
    """A port whose connections are handled one after the other in a thread. What `handle` raises is written down."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(10)
                    try:
                        handle(connection)
                    except OSError as error:
                        if said is not None:
                            said.append(f"{type(error).__name__}: {error}")

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(15)


def answering(context: ssl.SSLContext | None, answer: bytes = _ANSWER) -> Callable[[socket.socket], None]:
    """Speak HTTP, over TLS with a context."""

    def handle(connection: socket.socket) -> None:
        if context is None:
            connection.recv(65536)
            connection.sendall(answer)
            return
        with context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False) as secure:
            try:
                secure.do_handshake()
                secure.recv(65536)
                secure.sendall(answer)
            except ssl.SSLError:
                with contextlib.suppress(OSError):  # a reset would get ahead of the alert
                    socket.socket.shutdown(secure, socket.SHUT_WR)
                    while socket.socket.recv(secure, 65536):
                        pass
                raise

    return handle


def silent(connection: socket.socket) -> None:
    """Take what comes, say nothing, until the client goes."""
    with contextlib.suppress(OSError):
        while connection.recv(65536):
            pass


def hanging_up(connection: socket.socket) -> None:
    """Read the client's first words, and close."""
    connection.recv(65536)


def resetting(connection: socket.socket) -> None:
    """Read the client's first words, and tear the connection down."""
    connection.recv(65536)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
