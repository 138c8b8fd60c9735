"""What badly behaved clients cost: memory while handshakes fail, and the time that a server takes to stop."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import load
import psutil
from patience import PATIENCE

from bench.figures import Samples
from bench.servers import CONTESTANTS, Contestant, Server, Setting, certified
from bench.tables import FULL, Column, Measurement, Pace, Table

_FAILURES = 20  # for each connection of the traffic
_AT_ONCE, _WATCH = 4, 0.05


def _first_flight() -> bytes:
    """A ClientHello."""
    outgoing = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def _fail(server: Server, count: int) -> None:
    """Handshakes that fail: closed after the ClientHello, garbage, and closed without a byte, in turns."""
    flights = (_first_flight(), b"\x01" * 64, b"")

    def one(number: int) -> None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", server.port), PATIENCE) as sock:
            sock.sendall(flights[number % 3])

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(one, range(count)))


def _memory(contestant: Contestant, setting: Setting, failures: int) -> dict[str, list[float]]:
    """Before, at most, and when the server has no more to do."""
    with contestant.start(setting) as server:
        for _ in range(20):
            load.visit(server.port, setting.client())
        server.rest()
        before = most = server.memory()
        failing = threading.Thread(target=_fail, args=(server, failures))
        failing.start()
        while failing.is_alive():
            failing.join(_WATCH)
            most = max(most, server.memory())
        server.rest()
        after = server.memory()
        return {"before": [before], "most": [max(most, after)], "after": [after]}


def _nobody(_server: Server, _setting: Setting) -> contextlib.ExitStack:
    return contextlib.ExitStack()


def _idle(server: Server, setting: Setting) -> contextlib.ExitStack:
    """A client that has had an answer, and stays silent from then on."""
    with contextlib.ExitStack() as stack:
        load.fetch(stack.enter_context(load.connected(server.port, setting.client())))
        return stack.pop_all()


def _half_way(server: Server, _: Setting) -> contextlib.ExitStack:
    """A client that stops in the middle of its handshake."""
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), PATIENCE))
        sock.sendall(_first_flight())
        sock.recv(1)
        return stack.pop_all()


_CLIENTS: Mapping[str, Callable[[Server, Setting], contextlib.ExitStack]] = {
    "nobody": _nobody,
    "idle": _idle,
    "half_way": _half_way,
}


def _stop(contestant: Contestant, setting: Setting) -> dict[str, list[float]]:
    found = {}
    for name, clients in _CLIENTS.items():
        with contestant.start(setting) as server, clients(server, setting):
            process, started = psutil.Process(server.roots[0]), time.monotonic()
            os.kill(process.pid, signal.SIGTERM)
            with contextlib.suppress(psutil.TimeoutExpired):
                process.wait(PATIENCE)
            found[name] = [time.monotonic() - started]
    return found


def _run(pace: Pace) -> Mapping[str, Samples]:
    contestants = pace.chosen(CONTESTANTS)
    with certified() as setting:
        memory = {each.name: _memory(each, setting, _FAILURES * pace.count) for each in contestants}
        # At the same time: most of it is waiting.
        with ThreadPoolExecutor(len(contestants)) as pool:
            seconds = list(pool.map(lambda each: _stop(each, setting), contestants))
    return {"failures": memory, "stop": {each.name: row for each, row in zip(contestants, seconds, strict=True)}}


MANNERS = Measurement(
    "manners",
    (
        Table(
            "failures", "Failed handshakes",
            f"Memory before, during and after {_FAILURES * FULL.count:,} connections that end after the ClientHello, "
            "send garbage, or end without a byte.",
            {
                "before": Column("before, MiB", factor=1 / (1 << 20), compared=False),
                "most": Column("at most, MiB", factor=1 / (1 << 20), compared=False),
                "after": Column("after, MiB", factor=1 / (1 << 20), compared=False),
            },
        ),
        Table(
            "stop", "Stopping",
            "Seconds from SIGTERM to the end of the process: without clients, with an idle one that does not answer "
            "`close_notify`, and with one in its handshake; 60 where it did not end.",
            {
                "nobody": Column("no client", 1, compared=False),
                "idle": Column("an idle one", 1, compared=False),
                "half_way": Column("one in its handshake", 1, compared=False),
            },
        ),
    ),
    _run,
)  # fmt: skip
