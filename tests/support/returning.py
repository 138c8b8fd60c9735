"""Clients that come back with the session of their last visit."""

from __future__ import annotations

import ssl
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import load
from handshakes import client
from patience import PATIENCE
from servers import Server

# So many at once, so that a server with several workers has use for more than one.
_AT_ONCE = 8


@dataclass(frozen=True)
class Visit:
    """Whether the session was resumed, and the process that answered."""

    resumed: bool
    worker: int
    certificate: bytes


class Returning:
    """One client."""

    def __init__(self, version: ssl.TLSVersion) -> None:
        self._context = client(minimum=version, maximum=version)
        self.session: ssl.SSLSession | None = None

    def visit(self, port: int) -> Visit:
        """Shake hands, ask for a page, and keep the session. Raises OSError."""
        with load.connected(port, self._context, session=self.session) as secure:
            certificate = secure.getpeercert(binary_form=True)
            assert certificate is not None
            answer = load.fetch(secure, close=True)
            self.session = secure.session
            return Visit(bool(secure.session_reused), answer.worker, certificate)


@dataclass(frozen=True)
class Tally:
    """What came of a visit of each client."""

    visits: Sequence[Visit]
    before: Sequence[Visit] = ()

    @property
    def resumed(self) -> float:
        """The share that resumed."""
        return sum(visit.resumed for visit in self.visits) / len(self.visits)

    @property
    def elsewhere(self) -> int:
        """How many resumed with another process than the one that they came from."""
        pairs = zip(self.visits, self.before, strict=True)
        return sum(now.resumed and now.worker != before.worker for now, before in pairs)


class Crowd:
    """Many clients; each comes once at a `visit` of the crowd."""

    def __init__(self, count: int, version: ssl.TLSVersion) -> None:
        self._clients = [Returning(version) for _ in range(count)]
        self._last: Sequence[Visit] = ()
        self._turn = 0

    def visit(self, *ports: int) -> Tally:
        """All of them, at these ports by turns: each client at another one than the last time, if there are two."""
        self._turn += 1
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            wanted = [ports[(number + self._turn) % len(ports)] for number in range(len(self._clients))]
            visits = list(pool.map(lambda each, port: each.visit(port), self._clients, wanted))
        tally = Tally(visits, self._last)
        self._last = visits
        return tally

    def all_resume(self, *servers: Server, workers: int = 2) -> None:
        """Every client, and where there are several workers, some at another one than the one that they came from."""
        deadline = time.monotonic() + PATIENCE
        while True:
            tally = self.visit(*(server.port for server in servers))
            assert tally.resumed == 1.0, servers[0].text
            if tally.elsewhere or workers == 1:
                return
            assert time.monotonic() < deadline, "no client came to another worker"
