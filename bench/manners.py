"""What badly behaved clients cost a server: memory, descriptors, and the time that it takes to stop.

python -m bench manners
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.load import certificate, connect_and_get

FAILURES = 21_000
MEBIBYTE = 1 << 20
DESCRIPTORS = 256
THREADS = 4
STOP_WITHIN = 60.0
_HERE = Path(__file__).parent

PLAIN = {
    "uvicorn, asyncio": ["-m", "uvicorn", "--loop=asyncio"],
    "uvicorn, uvloop": ["-m", "uvicorn", "--loop=uvloop"],
    "hypercorn, asyncio": ["-m", "hypercorn", "--worker-class=asyncio"],
}
OURS = {f"asgi-tls {name}": ["-m", "asgi_tls", *command[1:]] for name, command in PLAIN.items()}


@dataclass
class Server:
    """A server process, its TLS port, and the one for redirects where it has one."""

    process: subprocess.Popen[bytes]
    port: int
    plain_port: int
    log: Path

    @property
    def usage(self) -> tuple[float, int]:
        """Resident memory in MiB, and open descriptors, of all its processes."""
        root = psutil.Process(self.process.pid)
        all_ = [root, *root.children(recursive=True)]
        return sum(each.memory_info().rss for each in all_) / MEBIBYTE, sum(each.num_fds() for each in all_)

    def stop(self) -> float:
        """Ask it to stop, and wait: the seconds that it took."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_WITHIN)
        return time.monotonic() - started


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextlib.contextmanager
def serving(command: Sequence[str], pair: tuple[str, str], *more: str, descriptors: int = 4096) -> Iterator[Server]:
    """One of the commands above, with this certificate and key, and room for so many descriptors."""
    port, plain_port = free_port(), free_port()
    prefix, listen = ("", [f"--bind=127.0.0.1:{port}"]) if "hypercorn" in command else ("ssl-", [f"--port={port}"])
    files = [f"--{prefix}certfile={pair[0]}", f"--{prefix}keyfile={pair[1]}"]
    redirect = [f"--tls-redirect-port={plain_port}"] if "asgi_tls" in command else []
    arguments = [sys.executable, *command, "hello_app:app", "--log-level=warning", *listen, *files, *redirect, *more]
    with tempfile.NamedTemporaryFile() as log:
        process = subprocess.Popen(arguments, cwd=_HERE, stdout=log, stderr=log, start_new_session=True)
        psutil.Process(process.pid).rlimit(psutil.RLIMIT_NOFILE, (descriptors, descriptors))
        try:
            _await(port, process)
            yield Server(process, port, plain_port, Path(log.name))
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def _await(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while True:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args!r} does not listen")
        time.sleep(0.05)


def hello() -> bytes:
    """The first flight of a client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    outgoing = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


def fail(port: int, count: int) -> None:
    """`count` handshakes that fail, in turns: closed after the ClientHello, garbage, and closed without a byte."""
    left, lock = iter(range(count)), threading.Lock()
    begin = hello()

    def run() -> None:
        while True:
            with lock:
                number = next(left, None)
            if number is None:
                return
            with socket.create_connection(("127.0.0.1", port), timeout=20) as sock, contextlib.suppress(OSError):
                sock.sendall((begin, b"\x01" * 64, b"")[number % 3])

    threads = [threading.Thread(target=run) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def memory(failures: int, ca: str, pair: tuple[str, str]) -> None:
    """Memory and descriptors during and after failed handshakes."""
    print(f"{failures} failed handshakes: MiB before, at most, after; descriptors before, after")
    for name, command in (PLAIN | OURS).items():
        with serving(command, pair) as server:
            context = ssl.create_default_context(cafile=ca)
            connect_and_get(server.port, context, 20)
            before, most = server.usage, 0.0
            failing = threading.Thread(target=fail, args=(server.port, failures))
            failing.start()
            deadline = time.monotonic() + 600
            while failing.is_alive() or (server.usage[1] > before[1] + 1 and time.monotonic() < deadline):
                most = max(most, server.usage[0])
                time.sleep(0.02)
            connect_and_get(server.port, context, 1)
            after = server.usage
        print(f"  {name:32} {before[0]:7.0f} {most:7.0f} {after[0]:7.0f}   {before[1]:7} {after[1]:7}")


def descriptors(ca: str, pair: tuple[str, str]) -> None:
    """Clients of the TLS port, beside more silent connections to the redirect port than there are descriptors."""
    print(f"silent connections to the redirect port, {DESCRIPTORS} descriptors      requests served over TLS, of 20")
    context = ssl.create_default_context(cafile=ca)
    for name, command in OURS.items():
        with serving(command, pair, descriptors=DESCRIPTORS) as server, contextlib.ExitStack() as stack:
            for _ in range(DESCRIPTORS + 50):
                with contextlib.suppress(OSError):
                    silent = socket.create_connection(("127.0.0.1", server.plain_port), timeout=2)
                    stack.enter_context(silent)
            served = 0
            for _ in range(20):
                with contextlib.suppress(OSError):
                    connect_and_get(server.port, context, 1)
                    served += 1
        print(f"  {name:32} {served:7}      (20)")


def _idle(server: Server, context: ssl.SSLContext) -> socket.socket:
    """A client that has received its response and stays silent from then on."""
    sock = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    secure = context.wrap_socket(sock, server_hostname="localhost")
    secure.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    secure.recv(65536)
    return secure


def _half_way(server: Server, _: ssl.SSLContext) -> socket.socket:
    """A client that stops in the middle of its handshake."""
    sock = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    sock.sendall(hello())
    sock.recv(1)
    return sock


def stopping(ca: str, pair: tuple[str, str]) -> None:
    """How long a server takes to stop while clients do not answer its close_notify."""
    print("seconds to stop                                 no client, idle client, client in its handshake")
    context = ssl.create_default_context(cafile=ca)
    clients: list[Callable[[Server, ssl.SSLContext], socket.socket] | None] = [None, _idle, _half_way]
    for name, command in (PLAIN | OURS).items():
        seconds, tracebacks = [], 0
        for connect in clients:
            with serving(command, pair) as server, contextlib.ExitStack() as stack:
                if connect is not None:
                    stack.enter_context(connect(server, context))
                seconds.append(server.stop())
                tracebacks += server.log.read_text(errors="replace").count("Traceback")
        print(f"  {name:32}", *(f"{each:9.2f}" for each in seconds), f"   {tracebacks} tracebacks")


def workers(ca: str, pair: tuple[str, str]) -> None:
    """Workers that are killed while the files on disk are not valid: their successors serve the last good pair."""
    context = ssl.create_default_context(cafile=ca)
    print("a worker killed while the files are bad         requests served, of 20; workers after")
    for name, command in OURS.items():
        if "hypercorn" in command:  # stops when a worker is killed
            continue
        good = [Path(path).read_bytes() for path in pair]
        try:
            with serving(command, pair, "--workers=2") as server:
                for path in pair:
                    Path(path).write_bytes(b"garbage")
                children = psutil.Process(server.process.pid).children()
                killed = [each for each in children if "spawn_main" in " ".join(each.cmdline())][:1]
                for each in killed:
                    each.kill()
                time.sleep(5)
                served = 0
                for _ in range(20):
                    with contextlib.suppress(OSError):
                        connect_and_get(server.port, context, 1)
                        served += 1
                alive = [each for each in psutil.Process(server.process.pid).children() if each.status() != "zombie"]
                left = sum("spawn_main" in " ".join(each.cmdline()) for each in alive)
        finally:
            for path, data in zip(pair, good, strict=True):
                Path(path).write_bytes(data)
        print(f"  {name:32} {served:7}      (20)   {left} (2), {len(killed)} killed")


def run(failures: int = FAILURES) -> None:
    """Measure, and print the figures."""
    with certificate() as (ca, certfile, keyfile):
        pair = certfile, keyfile
        memory(failures, ca, pair)
        descriptors(ca, pair)
        stopping(ca, pair)
        workers(ca, pair)
