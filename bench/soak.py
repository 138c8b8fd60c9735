"""Many handshakes while certificates and ticket keys change: memory stays flat, and nothing fails.

    python -m bench.soak [--handshakes N] [--debug]

`asgi-tls uvicorn` serves. Clients of TLS 1.2 and 1.3 take turns, with full handshakes and with sessions. Ticket keys
change every five seconds, and the certificate every 500 handshakes, by SIGHUP. Memory is that of the server (RSS),
measured after a tenth of the handshakes (2,000 at least) and at the end. Then badly behaved clients follow
(`_manners.py`): failed handshakes, a fifth as many, silent connections, and clients that do not answer when a server
stops.

`--debug` has Python check each of its own allocations (PYTHONMALLOC=debug), without those clients.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import ssl
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench import _manners
from bench.load import Running, serving
from bench.reload import Pairs

HANDSHAKES = 100_000
BETWEEN_SWAPS = 500
WARM_UP = 2_000
THREADS = 2
MEBIBYTE = 1 << 20

# The features that are on.
OPTIONS = ["--tls-ticket-rotation", "5", "--tls-reload-interval", "600"]

_REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@dataclass
class Figures:
    """The results of a run."""

    handshakes: int = 0
    resumed: int = 0
    swaps: int = 0
    failures: list[str] = field(default_factory=list)
    growth_mib: float = 0.0
    alive: bool = False


class Client:
    """One version of TLS; every other visit offers a session.

    A session is read once in twenty visits: each time, CPython copies it and leaks the copy (observed: 3.11.7, under
    valgrind).
    """

    def __init__(self, ca: Path, version: ssl.TLSVersion) -> None:
        self._context = ssl.create_default_context(cafile=str(ca))
        self._context.minimum_version = self._context.maximum_version = version
        self._session: ssl.SSLSession | None = None
        self._visits = 0

    def visit(self, port: int) -> bool:
        """Whether a session was resumed. Raises OSError."""
        self._visits += 1
        offered = self._session if self._visits % 2 else None
        with (
            socket.create_connection(("127.0.0.1", port), timeout=60) as raw,
            self._context.wrap_socket(raw, server_hostname="localhost", session=offered) as secure,
        ):
            secure.sendall(_REQUEST)
            answer = b""
            while part := secure.recv(65536):
                answer += part
            if not answer.endswith(b"ok"):
                raise ConnectionError(f"the answer is {answer!r}")
            if self._visits % 20 == 2:
                self._session = secure.session
            return bool(secure.session_reused)


class Soak:
    """One run against one server."""

    def __init__(self, server: Running, pairs: Pairs, handshakes: int) -> None:
        self._server, self._pairs, self._handshakes = server, pairs, handshakes
        self._figures = Figures()
        self._lock = threading.Lock()
        self._process = psutil.Process(server.pid)
        self._turns = pairs.turns()
        self._before = 0

    def run(self) -> Figures:
        threads = [threading.Thread(target=self._visit) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._figures.alive = self._process.status() != psutil.STATUS_ZOMBIE
        self._figures.growth_mib = (self._process.memory_info().rss - self._before) / MEBIBYTE
        return self._figures

    def _visit(self) -> None:
        clients = [Client(self._pairs.ca, version) for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)]
        turn = 0
        while self._begin():
            turn += 1
            try:
                resumed = clients[turn % 2].visit(self._server.port)
            except OSError as error:
                with self._lock:
                    self._figures.failures.append(repr(error))
                    if len(self._figures.failures) > 100:
                        return
            else:
                with self._lock:
                    self._figures.resumed += resumed

    def _begin(self) -> bool:
        """Count one more, and change what is due. False at the end."""
        with self._lock:
            figures = self._figures
            if figures.handshakes >= self._handshakes:
                return False
            figures.handshakes += 1
            if figures.handshakes == max(WARM_UP, self._handshakes // 10):
                self._before = self._process.memory_info().rss
            if figures.handshakes % BETWEEN_SWAPS == 0:
                figures.swaps += 1
                next(self._turns)
                os.kill(self._server.pid, signal.SIGHUP)
            return True


def run(handshakes: int = HANDSHAKES, *, debug: bool = False) -> Figures:
    """Measure, and print the figures."""
    with tempfile.TemporaryDirectory() as directory:
        pairs = Pairs(Path(directory))
        files = ["--ssl-certfile", str(pairs.source.certfile), "--ssl-keyfile", str(pairs.source.keyfile)]
        command = ["-m", "asgi_tls", "uvicorn", "hello_app:app", "--port", "{port}", "--no-access-log", *files]
        env = {"PYTHONMALLOC": "debug", "PYTHONDEVMODE": "1"} if debug else {}
        with serving(*command, "--log-level", "warning", *OPTIONS, env=env) as server:
            figures = Soak(server, pairs, handshakes).run()
    print(f"{figures.handshakes} handshakes, {figures.resumed} of them resumed; {figures.swaps} renewals")
    print(f"failed:                      {len(figures.failures):8}      (0) {' '.join(figures.failures[:5])}")
    print(f"server is running:           {'yes' if figures.alive else 'no':>8}      (yes)")
    print(f"memory, after the warm-up:   {figures.growth_mib:+8.2f} MiB  (within 2)")
    if not debug:
        _manners.run(handshakes * 21 // 100)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--handshakes", type=int, default=HANDSHAKES)
    parser.add_argument("--debug", action="store_true")
    options = parser.parse_args()
    run(options.handshakes, debug=options.debug)


if __name__ == "__main__":
    main()
