"""One context in several threads, as gunicorn's threaded workers use it, while it changes. On a Python without a GIL
(`make matrix`) they really run at once.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from files import Files
from handshakes import client, needs_libssl
from patience import PATIENCE

from asgi_tls import PEMFiles, ServerTLS
from asgi_tls.context.server_context import ServerContext
from asgi_tls.events import Event, SessionEvent

THREADS, ROUNDS = 3, 20
VERSIONS = pytest.mark.parametrize(
    "version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda each: each.name[-3:].replace("_", ".")
)


@contextlib.contextmanager
def served(context: ssl.SSLContext) -> Iterator[int]:
    """The port on which threads send "!" over TLS, each with a connection of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    connection.settimeout(PATIENCE)
                    with connection, context.wrap_socket(connection, server_side=True) as secure:
                        secure.sendall(b"!")
                        secure.recv(1)

        threads = [threading.Thread(target=serve) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join(PATIENCE)


@contextlib.contextmanager
def changing(change: Callable[[], object]) -> Iterator[None]:
    """Without a pause, until the block ends."""
    over = threading.Event()

    def run() -> None:
        while not over.is_set():
            change()

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run)
        try:
            yield
        finally:
            over.set()
        running.result()


@VERSIONS
def test_handshakes_beside_renewals_and_rotating_keys(files: Files, version: ssl.TLSVersion) -> None:
    needs_libssl()
    events: list[Event] = []
    server = ServerTLS(files.ecdsa, listeners=[events.append]).create_server_context()
    pairs = [files.ecdsa.load(), files.rsa.load()]

    def renew() -> None:
        for each in pairs:
            server.use({"default": [each]}, ticket_secret=os.urandom(32))

    seen: set[bytes] = set()

    def visit(port: int) -> int:
        peer, resumed = client(ca=files.ca.read_text(), minimum=version, maximum=version), 0
        session: ssl.SSLSession | None = None
        for _ in range(ROUNDS):
            with (
                socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as raw,
                peer.wrap_socket(raw, server_hostname="localhost", session=session) as secure,
            ):
                assert secure.recv(1) == b"!"
                seen.add(secure.getpeercert(binary_form=True) or b"")
                session, resumed = secure.session, resumed + bool(secure.session_reused)
        return resumed

    with served(server.ssl_context) as port, ThreadPoolExecutor(THREADS) as pool, changing(renew):
        resumed = sum(pool.map(visit, [port] * THREADS))
    assert seen <= {each.leaf_der for each in pairs}
    reception = server.ssl_context.tls_reception
    assert reception is not None
    assert reception.dispatcher.flush(PATIENCE)
    assert [type(each) for each in events if isinstance(each, SessionEvent)] == [SessionEvent] * THREADS * ROUNDS
    assert sum(each.resumed for each in events if isinstance(each, SessionEvent)) == resumed


def test_contexts_made_by_the_first_client_of_a_name(files: Files) -> None:
    """Two clients may be the first one."""
    names = [f"n{number}.example.org" for number in range(70)]  # more than are made ahead
    pair = files.wildcard.load()
    server = ServerContext(ServerTLS(PEMFiles(files.wildcard.certfile, files.wildcard.keyfile)).profile)
    server.use({name: [pair] for name in names})

    def visit(port: int) -> None:
        peer = client(ca=files.ca.read_text())
        for name in reversed(names):
            with (
                socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as raw,
                peer.wrap_socket(raw, server_hostname=name) as secure,
            ):
                assert secure.recv(1) == b"!"

    with served(server.ssl_context) as port, ThreadPoolExecutor(THREADS) as pool:
        for each in [pool.submit(visit, port) for _ in range(THREADS)]:
            each.result()
