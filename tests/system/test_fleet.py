"""Two servers and one Redis: a block is everybody's, and a Redis that stops stops nobody."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from files import Files
from handshakes import client, connect
from launch import Launch
from servers import Server, serve
from wire import say

pytestmark = pytest.mark.system

GARBAGE = b"\x00" * 20
OTHER = "127.0.0.2"


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextlib.contextmanager
def redis(directory: Path, port: int) -> Iterator[None]:
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(directory)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait(10)


@contextlib.contextmanager
def guarded(files: Files, launch: Launch, redis_port: int) -> Iterator[Server]:
    command, env = launch.command(files.ecdsa, {"guard_redis": f"redis://127.0.0.1:{redis_port}/0"})
    ready, count = launch.readiness()
    with serve([*command, "--tls-log-json"], env=env, ready=ready, count=count) as server:
        yield server


def attack(server: Server, times: int) -> None:
    for _ in range(times):
        with socket.socket() as sock:
            sock.settimeout(5)
            sock.bind((OTHER, 0))
            sock.connect(("127.0.0.1", server.port))
            with contextlib.suppress(OSError):
                sock.sendall(GARBAGE)
                while sock.recv(1024):
                    pass


def is_blocked(server: Server) -> bool:
    with socket.socket() as sock:
        sock.settimeout(5)
        sock.bind((OTHER, 0))
        sock.connect(("127.0.0.1", server.port))
        with contextlib.suppress(OSError):
            sock.sendall(GARBAGE)
            return not sock.recv(1024)
        return True


def wait_for(what: str, server: Server) -> None:
    deadline = time.monotonic() + 20
    while what not in server.text:
        assert time.monotonic() < deadline, server.text
        time.sleep(0.05)


def test_a_fleet(files: Files, tmp_path: Path) -> None:
    port = free_port()
    one, two = Launch("uvicorn", "uvloop"), Launch("hypercorn", "asyncio")
    context = client(ca=files.ca_text)
    with contextlib.ExitStack() as stack:
        with redis(tmp_path, port):
            first = stack.enter_context(guarded(files, one, port))
            second = stack.enter_context(guarded(files, two, port))
            # Half of the failures on each: neither would block alone.
            attack(first, 12)
            attack(second, 12)
            wait_for('"blocked"', first)
            wait_for('"blocked"', second)
            assert is_blocked(first)
            assert is_blocked(second)
            connect(first.port, context)
        # Redis is gone.
        for server in (first, second):
            wait_for("Redis does not answer", server)
            for _ in range(20):
                assert connect(server.port, context).protocol == "TLSv1.3"
            assert say(server.port, GARBAGE).data
            assert server.text.count("Redis does not answer") == 1
            assert is_blocked(server)
        with redis(tmp_path, port):
            for server in (first, second):
                wait_for("Redis answers again", server)
                assert connect(server.port, context).protocol == "TLSv1.3"
        for server in (first, second):
            assert "Traceback" not in server.text
