"""A server under all kinds of traffic, while everything around it changes, breaks and comes back.

Certificates are renewed each second. Redis, which the guard shares, and the OCSP responder stop and start again. The
clock is set forwards and back (`clock.c`). A worker is killed every ten seconds, always the youngest, so that one
of them lives through the whole run; none of hypercorn's, which stops when a worker is killed.

Nothing may be lost but the connections that a killed worker had. The memory, descriptors and threads of each process
stay what they were after the warm-up, and the log says nothing but what `soak_report.py` expects.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import psutil
from cryptography.x509.oid import ExtendedKeyUsageOID
from launch import Launch
from patience import PATIENCE
from pki import DAY, PKI, Pair
from ports import free_ports
from redis_server import redis
from renewals import Site, kubernetes
from responder import Responder
from returning import Returning
from servers import Server, serve
from soak_report import MORE_DESCRIPTORS, Killed, Report, Sample
from traffic import Traffic, started

from asgi_tls import PEMFiles

LAUNCHES = [
    Launch("uvicorn", "asyncio", 2),
    Launch("uvicorn", "uvloop", 2),
    Launch("gunicorn", "asgi", 2),
    Launch("hypercorn", "asyncio", 2),
]

_CLOCK = Path(__file__).with_name("clock.c")
_MEBIBYTE = 1 << 20
_SAMPLE_EVERY = 0.25
# Seconds that the clock is off, in turns. OCSP responses are valid for seven days, ticket keys for ten seconds.
_JUMPS = (3600, 0, -1800, 8 * 86400, 0)


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Seconds between two of each kind."""

    renewal: float = 1.0
    kill: float = 10.0
    outage: float = 15.0  # of Redis, and of the responder
    outage_lasts: float = 4.0
    jump: float = 20.0


@dataclass
class StapledSite(Site):
    """Its pairs name the responder, and are valid whatever the clock is set to."""

    responder: Responder = field(kw_only=True)
    made: list[bytes] = field(default_factory=list)
    """All certificates, DER."""

    def next_pair(self, *, key: str = "ecdsa") -> Pair:
        now, number = self.pki.now, timedelta(seconds=next(self._numbers))
        pair = self.responder.leaf(key=key, not_before=now - 10 * DAY, not_after=now + 60 * DAY - number)
        self.made.append(pair.der)
        return pair


class Soak:
    """One run against one server, with its files in `directory`."""

    def __init__(self, launch: Launch, directory: Path, pace: Pace) -> None:
        self._launch, self._directory, self._pace = launch, directory, pace
        self._pki, self._report = PKI("Soak"), Report(launch)
        self._responder = Responder(self._pki)
        self._port, self._plain_port, self._redis_port, self._metrics_port = free_ports(4)
        self._clock, self._temporary = directory / "clock", directory / "tmp"
        self._stop, self._redis = threading.Event(), contextlib.ExitStack()
        self._planned: set[str] = set()
        self._idle: dict[int, int] = {}

    def run(self, seconds: float, env: Mapping[str, str] | None = None) -> Report:
        """Serve under load for so long, and until everything has happened once. Judge what was seen."""
        self._temporary.mkdir()
        self._set_clock(0)
        with self._responder, self._redis:
            self._start_redis()
            site = StapledSite(self._pki, self._directory / "site", responder=self._responder)
            traffic = Traffic(
                self._port, self._plain_port, ca=self._pki.root_pem.decode(),
                friend=self._client("friend", self._pki), stranger=self._client("stranger", PKI("Strangers")),
            )  # fmt: skip
            own = ["--no-access-log"] if self._launch.server == "uvicorn" else []
            command = self._launch.command(site.source, self._settings(), *own, port=self._port)
            ready, count = self._launch.readiness()
            with serve(command, ready=ready, count=count, env={**self._environment(), **(env or {})}) as server:
                self._idle, started = _descriptors(server), time.monotonic()
                with traffic.running(), self._disturbed(server, traffic, site):
                    self._sample(server, traffic, until=started + seconds)
                self._report.seconds = time.monotonic() - started
                self._end(server, site)
        self._report.happened["certificates seen"] = len(traffic.certificates)
        if not traffic.certificates.keys() <= {*site.made}:
            self._report.problems.append("a certificate was served that is none of the site's")
        self._report.visits, self._report.resumed = traffic.visits, traffic.resumed
        self._report.losses = traffic.losses
        self._report.problems += [f"left behind: {each.name}" for each in self._temporary.iterdir()]
        self._report.judge(server.log)
        return self._report

    def _client(self, name: str, pki: PKI) -> PEMFiles:
        now = pki.now
        pair = pki.leaf("client.example", eku=(ExtendedKeyUsageOID.CLIENT_AUTH,), not_before=now - 10 * DAY)
        return PEMFiles(*pair.write(self._directory / name))

    def _settings(self) -> dict[str, str]:
        ca = self._directory / "ca.pem"
        ca.write_bytes(self._pki.root_pem)
        return {
            "client_ca": str(ca), "client_auth": "optional", "ticket_rotation": "10", "reload_interval": "1",
            "guard_redis": f"redis://127.0.0.1:{self._redis_port}/0", "metrics": f"127.0.0.1:{self._metrics_port}",
            "redirect_port": str(self._plain_port), "log_json": "1",
        }  # fmt: skip

    def _environment(self) -> dict[str, str]:
        library = self._directory / "clock.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-nostdlib", "-o", library, _CLOCK], check=True)
        return {
            "TMPDIR": str(self._temporary), "XDG_CACHE_HOME": str(self._directory / "cache"),
            "LD_PRELOAD": str(library), "CLOCK_OFFSET": str(self._clock),
            # glibc would keep what downloads needed once: how much that is depends on how many meet.
            "MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072",
        }  # fmt: skip

    def _set_clock(self, seconds: int) -> None:
        """In place: the server's processes have the file mapped."""
        with self._clock.open("r+b" if self._clock.exists() else "xb") as file:
            file.write(struct.pack("=q", seconds))

    def _start_redis(self) -> None:
        self._redis.enter_context(redis(self._directory, self._redis_port))

    @contextlib.contextmanager
    def _disturbed(self, server: Server, traffic: Traffic, site: StapledSite) -> Iterator[None]:
        pace, jumps = self._pace, itertools.cycle(_JUMPS)

        def renew() -> None:
            kubernetes(site, site.next_pair())  # both files at once: on a busy machine a writer may stop between them
            if self._launch.server != "gunicorn":  # it would make new workers
                os.kill(server.process.pid, signal.SIGHUP)

        def without_redis() -> None:
            self._redis.close()
            self._stop.wait(pace.outage_lasts)
            self._start_redis()

        def without_responder() -> None:
            self._responder.stop()
            self._stop.wait(pace.outage_lasts)
            self._responder.start_again()

        work: list[tuple[str, float, Callable[[], None]]] = [
            ("renewals", pace.renewal, renew),
            ("restarts of Redis", pace.outage, without_redis),
            ("restarts of the responder", pace.outage, without_responder),
            ("jumps of the clock", pace.jump, lambda: self._set_clock(next(jumps))),
        ]
        if self._launch.server != "hypercorn":
            work.append(("workers killed", pace.kill, lambda: self._kill(traffic)))
        self._planned = {what for what, _, _ in work}
        with started([threading.Thread(target=self._again, args=each) for each in work], self._stop):
            yield

    def _again(self, what: str, pause: float, work: Callable[[], None]) -> None:
        while not self._stop.wait(pause):
            try:
                work()
            except Exception as error:  # noqa: BLE001 -- it is reported at the end
                self._report.problems.append(f"no more {what}: {error!r}")
                return
            self._report.happened[what] += 1

    def _kill(self, traffic: Traffic) -> None:
        """The youngest worker, once two have answered."""
        asked = time.monotonic()
        while len(found := [pid for pid, at in list(traffic.workers.items()) if at > asked]) < self._launch.workers:
            if self._stop.wait(0.05):
                return
            if time.monotonic() > asked + PATIENCE:
                raise TimeoutError(f"only {found} answer")
        youngest = max(map(psutil.Process, found), key=lambda each: each.create_time())
        youngest.suspend()
        while youngest.status() != psutil.STATUS_STOPPED:
            time.sleep(0.001)
        clients = frozenset((each.raddr.ip, each.raddr.port) for each in youngest.net_connections("tcp") if each.raddr)
        self._report.killed.append(Killed(youngest.pid, time.monotonic(), clients))
        youngest.kill()

    def _sample(self, server: Server, traffic: Traffic, *, until: float) -> None:
        root = psutil.Process(server.process.pid)
        while server.process.poll() is None and not self._report.problems:
            now = time.monotonic()
            if now > until and (self._has_happened(traffic) or now > until + PATIENCE):
                return
            for process in [root, *root.children(recursive=True)]:
                with contextlib.suppress(psutil.Error), process.oneshot():
                    if memory := process.memory_info().rss / _MEBIBYTE:  # else it has ended
                        sample = Sample(time.monotonic(), memory, process.num_fds(), process.num_threads())
                        self._report.samples.setdefault(process.pid, []).append(sample)
            time.sleep(_SAMPLE_EVERY)

    def _has_happened(self, traffic: Traffic) -> bool:
        return {*self._report.happened} == self._planned and traffic.has_all

    def _end(self, server: Server, site: StapledSite) -> None:
        """Nothing of the clients is left, and every worker serves the last certificate; then the server stops."""
        served: dict[int, bytes] = {}
        deadline = time.monotonic() + PATIENCE
        while grown := [
            f"process {pid} keeps {now} descriptors, and had {self._idle[pid]} before it had clients"
            for pid, now in _descriptors(server).items()
            if now > self._idle.get(pid, now) + MORE_DESCRIPTORS
        ]:
            if time.monotonic() > deadline:
                self._report.problems += grown
                break
            time.sleep(0.05)
        deadline = time.monotonic() + PATIENCE
        while len(served) < self._launch.workers or {*served.values()} != {site.made[-1]}:
            if server.process.poll() is not None:
                self._report.problems.append(f"the server has ended with status {server.process.returncode}")
                return
            if time.monotonic() > deadline:
                self._report.problems.append(f"of {[*served]}, not all serve the last certificate")
                break
            visit = Returning(ssl.TLSVersion.TLSv1_3).visit(self._port)
            served[visit.worker] = visit.certificate
        server.process.terminate()
        server.process.wait(PATIENCE)


def _descriptors(server: Server) -> dict[int, int]:
    """How many each process of the server has."""
    root, found = psutil.Process(server.process.pid), {}
    for process in [root, *root.children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            found[process.pid] = process.num_fds()
    return found
