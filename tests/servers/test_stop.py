"""A server that is asked to stop does so soon, whatever its clients do, and without a traceback."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from files import Files
from handshakes import client
from launch import Launch, split
from ports import free_port
from servers import Server

LAUNCHES = [
    Launch("uvicorn", "asyncio"),
    Launch("uvicorn", "uvloop", 2),
    Launch("hypercorn", "asyncio"),
    Launch("hypercorn", "uvloop"),
    Launch("gunicorn", "asgi"),
]
QUICK = {"uvicorn-asyncio-1", "uvicorn-uvloop-2", "hypercorn-asyncio-1", "hypercorn-uvloop-1", "gunicorn-asgi-1"}
# Seconds. A client that does not answer close_notify held each of them up for 30.
SOON = 12


@contextlib.contextmanager
def stubborn(server: Server, *, asks: bool) -> Iterator[ssl.SSLSocket]:
    """A client that reads nothing more, and so does not answer close_notify."""
    context = client(alpn=["http/1.1"])
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=60) as raw,
        context.wrap_socket(raw, server_hostname="localhost", suppress_ragged_eofs=False) as secure,
    ):
        if asks:
            secure.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert secure.recv(12) == b"HTTP/1.1 200"
        yield secure


def stopped(server: Server) -> None:
    server.process.terminate()
    server.process.wait(SOON)
    for words in ("Traceback", "Event loop is closed", "never retrieved", "was destroyed"):
        assert words not in server.text, server.text


@pytest.mark.parametrize("launch", split(LAUNCHES, QUICK), ids=str)
def test_clients_that_do_not_answer_close_notify_beside_handshakes_that_are_under_way(
    files: Files, launch: Launch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They hold nothing up, and nothing is left behind: neither of them nor of the metrics."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with launch.start(files.ecdsa, {"metrics": f"127.0.0.1:{free_port()}"}) as server, contextlib.ExitStack() as stack:
        assert list(tmp_path.iterdir())
        for hello in (b"", b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/1.1\r\n"):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=60))
            sock.sendall(hello)
        if launch.server != "gunicorn":  # waits for the first request of a connection, over plain HTTP too
            stack.enter_context(stubborn(server, asks=False))
        stack.enter_context(stubborn(server, asks=True))  # so the others have been accepted
        stopped(server)
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module", params=[Launch("uvicorn", "asyncio"), Launch("hypercorn", "uvloop", 0)], ids=str)
def running(request: pytest.FixtureRequest, files: Files) -> Iterator[Server]:
    """A server that runs on, for the tests that do not stop it."""
    launch: Launch = request.param
    with launch.start(files.ecdsa, {}) as server:
        yield server


def test_a_connection_that_the_server_closes_says_close_notify_and_takes_none(running: Server) -> None:
    """The end of a connection is not held up for 30 seconds either."""
    with stubborn(running, asks=False) as secure:
        secure.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = b""
        while chunk := secure.recv(65536):  # a ragged end would raise
            answer += chunk
        assert answer.startswith(b"HTTP/1.1 200")
        # The socket below has its end as well, although this side has said nothing.
        raw = socket.socket(fileno=secure.detach())
        with raw:
            raw.settimeout(SOON)
            assert raw.recv(1) == b""


def test_a_slow_client_gets_all_of_a_long_answer(running: Server) -> None:
    """It reads after the time for close_notify is over; nothing of the answer is lost."""
    with stubborn(running, asks=False) as secure:
        secure.sendall(b"GET /long HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        size = len(secure.recv(100))
        time.sleep(1.5)  # nothing shows that the time is over
        while chunk := secure.recv(65536):
            size += len(chunk)
        assert size > 4_000_000


@pytest.mark.parametrize(
    ("launch", "graceful"),
    [
        (Launch("uvicorn", "uvloop"), "--timeout-graceful-shutdown=1"),
        (Launch("hypercorn", "asyncio", 0), "--graceful-timeout=1"),
        (Launch("hypercorn", "uvloop"), "--graceful-timeout=1"),
    ],
    ids=str,
)
def test_a_client_that_has_stopped_reading(files: Files, launch: Launch, graceful: str) -> None:
    """Megabytes are left to send; the graceful timeout of the server counts.

    hypercorn cancels the connection's task, of which the standard library prints a traceback up to Python 3.11.
    """
    with launch.start(files.ecdsa, {}, graceful) as server, stubborn(server, asks=False) as secure:
        secure.sendall(b"GET /long HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert secure.recv(12) == b"HTTP/1.1 200"
        server.process.terminate()
        server.process.wait(SOON)
        assert "Event loop is closed" not in server.text
