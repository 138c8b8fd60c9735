"""Memory of a connection that is open and silent."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator, Mapping

import load
from patience import PATIENCE

from bench.figures import Samples
from bench.servers import BASES, CONTESTANTS, Server, Setting, certified
from bench.tables import Column, Measurement, Pace, Table

_COUNT = 200


@contextlib.contextmanager
def _idle(server: Server, setting: Setting) -> Iterator[None]:
    """Clients that have had an answer."""
    client = setting.client()
    with contextlib.ExitStack() as stack:
        for _ in range(_COUNT):
            load.fetch(stack.enter_context(load.connected(server.port, client)))
        yield


@contextlib.contextmanager
def _parked(server: Server, _: Setting) -> Iterator[None]:
    """Clients that have not said anything."""
    with contextlib.ExitStack() as stack:
        for _number in range(_COUNT):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE))
        yield


_STATES: Mapping[str, Callable[[Server, Setting], contextlib.AbstractContextManager[None]]] = {
    "idle": _idle,
    "parked": _parked,
}


def _run(pace: Pace) -> Mapping[str, Samples]:
    found: dict[str, dict[str, list[float]]] = {}
    with certified() as setting:
        client = setting.client()
        for contestant in pace.chosen(CONTESTANTS):
            for state, clients in _STATES.items():
                # Each in a server of its own: what a connection had, the next one uses again.
                with contestant.start(setting) as server:
                    for _number in range(20):
                        load.visit(server.port, client)
                    server.rest()
                    before = server.memory()
                    with clients(server, setting):
                        server.rest()
                        used = (server.memory() - before) / _COUNT
                    found.setdefault(contestant.name, {})[state] = [used]
    return {"connections": found}


CONNECTIONS = Measurement(
    "connections",
    (
        Table(
            "connections", "Memory of a silent connection",
            f"Of {_COUNT} clients each. An idle connection has made its handshake and had an answer; on a parked one "
            "the client has not sent a byte.",
            {
                "idle": Column("idle, KiB", factor=1 / 1024, plot="Memory of an idle connection, KiB"),
                "parked": Column("parked, KiB", factor=1 / 1024),
            },
            bases=BASES,
        ),
    ),
    _run,
)  # fmt: skip
