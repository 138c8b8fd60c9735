"""CPU of each server for what clients do most: connect, come back, ask again, download; and for its start.

Instructions are counted for the same, by callgrind.
"""

from __future__ import annotations

import contextlib
import ssl
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import load

from bench.figures import Samples, compared, joined
from bench.servers import BASES, CONTESTANTS, PYTHON, Contestant, Server, Setting, certified
from bench.tables import Column, Measurement, Pace, Table

_KEPT, _DOWNLOADS = 10, 0.2  # times the number of connections
_TURNS = 4  # of each round: what two servers are compared by is better often than long
_COUNT, _COUNTS = 10, 3  # connections under callgrind, and how often
_IDLE_S = 11.0  # certificates are looked at every five seconds


@dataclass(frozen=True)
class Work:
    """One kind of work: `do` does it so many times."""

    do: Callable[[Server, ssl.SSLContext, int], None]
    share: float = 1.0


def _new(server: Server, client: ssl.SSLContext, count: int) -> None:
    for _ in range(count):
        load.visit(server.port, client)


def _resumed(server: Server, client: ssl.SSLContext, count: int) -> None:
    session = None
    for _ in range(count):
        with load.connected(server.port, client, session=session) as secure:
            if session is not None and not secure.session_reused:
                raise RuntimeError("a session was not resumed")
            load.fetch(secure, close=True)
            load.drain(secure)
            session = secure.session  # a new one each time: some servers take it once


def _kept(path: str, server: Server, client: ssl.SSLContext, count: int) -> None:
    with load.connected(server.port, client) as secure:
        for _ in range(count):
            load.fetch(secure, path)


WORK = {
    "handshake": Work(_new),
    "resumption": Work(_resumed),
    "request": Work(partial(_kept, "/"), _KEPT),
    "download": Work(partial(_kept, "/mebibyte"), _DOWNLOADS),
}


def _cost(server: Server, client: ssl.SSLContext, work: Work, count: int) -> float:
    """CPU seconds of each time, after a few that are not counted: other servers had the caches."""
    count = max(round(count * work.share), 2)
    work.do(server, client, max(count // 10, 2))
    before = server.cpu()
    work.do(server, client, count)
    return (server.cpu() - before) / count


@contextlib.contextmanager
def started(contestants: Sequence[Contestant], setting: Setting) -> Iterator[dict[str, Server]]:
    """All of them, each started alone; those that do not have their turn are idle."""
    with contextlib.ExitStack() as stack:
        servers = {}
        for each in contestants:
            servers[each.name] = stack.enter_context(each.start(setting))
            servers[each.name].rest()
        yield servers


def _once(contestants: Sequence[Contestant], setting: Setting, pace: Pace) -> Mapping[str, Samples]:
    """One start of each server."""
    client, found = setting.client(), {}
    with started(contestants, setting) as servers:
        found["start"] = {
            name: {key: [value] for key, value in _start(server).items()} for name, server in servers.items()
        }
        for server in servers.values():
            _new(server, client, 50)  # warm up
        for name in WORK:
            found[name] = in_turns(servers, client, name, BASES, pace)
    return found


def in_turns(
    servers: Mapping[str, Server],
    client: ssl.SSLContext,
    work: str,
    bases: Mapping[str, str],
    pace: Pace,
    times: int = 1,
) -> dict[str, dict[str, list[float]]]:
    """The rounds of this work, each cut into turns. `times` is how many rounds there are for one of the pace's."""
    ways = {name: way(server, client, work, pace.count // _TURNS) for name, server in servers.items()}
    return compared(ways, bases, times * _TURNS * pace.rounds)


def way(server: Server, client: ssl.SSLContext, work: str, count: int) -> Callable[[], dict[str, float]]:
    """What costs CPU when it has its turn."""
    return lambda: {"cpu": _cost(server, client, WORK[work], count)}


def _run(pace: Pace) -> Mapping[str, Samples]:
    with certified() as setting:
        contestants = pace.chosen(CONTESTANTS)
        runs = [_once(contestants, setting, pace) for _ in range(pace.starts)]
        ways = {each.name: partial(_started_again, each, setting) for each in contestants}
        more = compared(ways, BASES, pace.starts)
    found = {name: joined(run[name] for run in runs) for name in runs[0]}
    return {**found, "start": joined([found["start"], more])}


def _start(server: Server) -> dict[str, float]:
    return {"wall": server.start_s, "cpu": server.start_cpu_s, "memory": server.memory()}


def _started_again(contestant: Contestant, setting: Setting) -> dict[str, float]:
    """A start varies more than the rest, and needs more rounds."""
    with contestant.start(setting) as server:
        return _start(server)


def _run_with_workers(pace: Pace) -> Mapping[str, Samples]:
    contestants = [each for each in pace.chosen(CONTESTANTS) if "asyncio" not in each.name]
    with certified() as setting, started(contestants, replace(setting, workers=2)) as servers:
        client = setting.client()
        for server in servers.values():
            _new(server, client, 100)
        return {"workers": in_turns(servers, client, "handshake", BASES, pace, 2)}


def instructions(pace: Pace) -> Mapping[str, Samples]:
    """Instructions of each time, in user mode; of the servers in Python, since valgrind knows those of Go badly."""
    found: dict[str, dict[str, dict[str, list[float]]]] = {name: {} for name in WORK}
    for contestant in pace.chosen(PYTHON):
        with certified() as setting, tempfile.TemporaryDirectory() as directory:
            callgrind = Callgrind(Path(directory))
            with contestant.start(replace(setting, under=callgrind.command)) as server:
                client = setting.client()
                for work in WORK.values():
                    work.do(server, client, 3)
                callgrind.begin(server)
                idle = _idle(server, callgrind)
                for name, work in WORK.items():
                    # The median, since a server does something else now and then.
                    counts = [_count(server, client, work, callgrind, idle) for _ in range(_COUNTS)]
                    found[name][contestant.name] = {"instructions": [statistics.median(counts)]}
    return found


def _count(server: Server, client: ssl.SSLContext, work: Work, callgrind: Callgrind, idle: float) -> float:
    """Instructions of each time, less those that it would have taken while it was idle."""
    times = max(round(_COUNT * work.share), _COUNT // 2)
    work.do(server, client, 2)
    callgrind.take(server)
    started = time.monotonic()
    work.do(server, client, times)
    anyway = idle * (time.monotonic() - started)
    return (callgrind.take(server) - anyway) / times


def _idle(server: Server, callgrind: Callgrind) -> float:
    """Instructions of each second without clients."""
    time.sleep(1)
    callgrind.take(server)
    started = time.monotonic()
    time.sleep(_IDLE_S)
    return callgrind.take(server) / (time.monotonic() - started)


class Callgrind:
    """Counts the instructions of a server and its workers."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        # Otherwise glibc copies by one instruction that callgrind counts as one for each byte.
        copies = ":".join(f"glibc.cpu.x86_rep_{way}_threshold=1000000000" for way in ("movsb", "stosb"))
        self.command = (
            "env", f"GLIBC_TUNABLES={copies}",
            "valgrind", "--tool=callgrind", "--trace-children=yes", "--instr-atstart=no", "--quiet",
            f"--callgrind-out-file={directory}/out.%p",
        )  # fmt: skip

    def begin(self, server: Server) -> None:
        """Count from now on."""
        self._control(server, "--instr=on")

    def take(self, server: Server) -> float:
        """How many there were since the last time."""
        for old in self._directory.glob("out.*"):
            old.unlink()
        self._control(server, "--dump")
        texts = (path.read_text(encoding="utf-8", errors="replace") for path in self._directory.glob("out.*"))
        totals = [line.split()[1] for text in texts for line in text.splitlines() if line.startswith("totals:")]
        return float(sum(map(int, totals)))

    def _control(self, server: Server, order: str) -> None:
        pids = [str(each.pid) for each in server.processes()]
        subprocess.run(["callgrind_control", order, *pids], check=True, capture_output=True, timeout=120)


MICROSECONDS = Column("CPU, µs", factor=1e6)
_COUNTED = {"instructions": Column("instructions, k", factor=1e-3)}


def _plotted(title: str) -> dict[str, Column]:
    return {"cpu": replace(MICROSECONDS, plot=title)}


TRAFFIC = Measurement(
    "traffic",
    (
        Table(
            "handshake", "New connections",
            "A full TLS 1.3 handshake, a GET of two bytes, and the end of the connection. [What a handshake "
            "costs](internals.md#a-handshake) explains what asgi_tls adds.",
            _plotted("CPU of a new connection and a GET, µs"), bases=BASES, counted=_COUNTED,
        ),
        Table(
            "resumption", "Resumed connections",
            "The same with the session of an earlier visit. With and without asgi_tls the client gets one new ticket.",
            _plotted("CPU of a resumed connection and a GET, µs"), bases=BASES, counted=_COUNTED,
        ),
        Table(
            "request", "Requests on an open connection",
            "A GET of two bytes on a connection that stays open. With asgi_tls each request knows its TLS connection "
            "(`tls_connection`).",
            _plotted("CPU of a GET on an open connection, µs"), bases=BASES, counted=_COUNTED,
        ),
        Table(
            "download", "Downloads", "A GET of one mebibyte on a connection that stays open.",
            _plotted("CPU of a download of 1 MiB, µs"), bases=BASES, counted=_COUNTED,
        ),
        Table(
            "start", "Start",
            "From the start of the first process to the first answer over TLS, and the memory at that moment: what "
            "would be free if all processes ended. A proxy starts after its application. What asgi_tls adds is mostly "
            "the import of its modules, cryptography among them.",
            {
                "wall": Column("time, s", 2),
                "cpu": Column("CPU, s", 2, plot="CPU of a start, s"),
                "memory": Column("memory, MiB", factor=1 / (1 << 20)),
            },
            bases=BASES,
        ),
    ),
    _run,
)  # fmt: skip
WORKERS = Measurement(
    "workers",
    (
        Table(
            "workers", "Two workers", "New connections, as above, to a server with two workers; all on uvloop.",
            {"cpu": MICROSECONDS}, bases=BASES,
        ),
    ),
    _run_with_workers,
)  # fmt: skip
