"""Servers to measure, and a client to load them with."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from asgi_tls.dev.ca import LocalCA

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Running:
    """A server process and the port it listens on."""

    pid: int
    port: int

    def cpu(self) -> float:
        """Seconds of CPU that the main thread of the process has used so far, in user and kernel mode."""
        return int(Path(f"/proc/{self.pid}/schedstat").read_text(encoding="ascii").split()[0]) / 1e9


@contextlib.contextmanager
def certificate() -> Iterator[tuple[str, str, str]]:
    """Paths of a CA, a certificate and a key for localhost (ECDSA P-256)."""
    with tempfile.TemporaryDirectory() as directory:
        ca = LocalCA(Path(directory))
        issued = ca.issue(["localhost"])
        yield str(ca.certificate_path), str(issued.certfile), str(issued.keyfile)


@contextlib.contextmanager
def serving(*arguments: str, env: Mapping[str, str] | None = None) -> Iterator[Running]:
    """`python arguments…` with `{port}` filled in, from this directory, in one process; `env` is added to ours."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    command = [sys.executable, *(argument.format(port=port) for argument in arguments)]
    process = subprocess.Popen(
        command, cwd=_HERE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **(env or {})}
    )
    try:
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{' '.join(command)} does not listen")
            time.sleep(0.05)
        yield Running(process.pid, port)
    finally:
        process.terminate()
        process.wait(10)


def connect_and_get(port: int, context: ssl.SSLContext, count: int) -> list[float]:
    """Make connections in sequence, each with a full handshake and a GET. Returns the seconds of each handshake."""
    durations = []
    request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    for _ in range(count):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            start = time.perf_counter()
            with context.wrap_socket(raw, server_hostname="localhost") as secure:
                durations.append(time.perf_counter() - start)
                secure.sendall(request)
                while secure.recv(65536):
                    pass
    return durations


def cpu_per_connection(
    servers: Sequence[Running], context: ssl.SSLContext, *, rounds: int, count: int
) -> list[tuple[float, float]]:
    """For each server: CPU seconds of the server per connection, and the median handshake as the client sees it.

    The servers take turns, so that other load on the machine affects all of them.
    """
    used = [0.0] * len(servers)
    durations: list[list[float]] = [[] for _ in servers]
    for server in servers:
        connect_and_get(server.port, context, 50)  # warm up
    for _ in range(rounds):
        for position, server in enumerate(servers):
            before = server.cpu()
            durations[position] += connect_and_get(server.port, context, count)
            used[position] += server.cpu() - before
    total = rounds * count
    return [(cpu / total, sorted(times)[len(times) // 2]) for cpu, times in zip(used, durations, strict=True)]
