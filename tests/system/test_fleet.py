"""Two servers and one Redis: a block is everybody's, and a Redis that stops stops nobody."""

from __future__ import annotations

import contextlib
import gc
import math
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest
from files import Files
from handshakes import client, connect
from launch import Launch
from patience import PATIENCE, until
from ports import free_port
from redis import Redis
from redis_server import redis
from servers import Server
from wire import say

from asgi_tls.listeners.fleet import Fleet
from asgi_tls.listeners.guard import HandshakeGuard

pytestmark = pytest.mark.system

GARBAGE = b"\x01" * 20
OTHER = "127.0.0.2"


@contextlib.contextmanager
def guarded(files: Files, launch: Launch, redis_port: int) -> Iterator[Server]:
    with launch.start(files.ecdsa, {"guard_redis": f"redis://127.0.0.1:{redis_port}/0", "log_json": "1"}) as server:
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
    until(lambda: what in server.text, server)


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


def test_more_blocks_than_a_server_keeps(files: Files, tmp_path: Path) -> None:
    """They are read once, and then nothing happens any more: no events, no work, and Redis forgets them."""
    port = free_port()
    with redis(tmp_path, port), Redis(port=port) as known:
        fleet = Fleet(f"redis://127.0.0.1:{port}/0", 20, 60.0, 300.0, lambda _: True)
        for number in range(15_000):
            fleet.turn((f"10.0.{number >> 8}.{number & 255}", math.inf))
        assert 10_000 <= known.xlen("asgi_tls:blocks") < 10_200
        with guarded(files, Launch("uvicorn", "uvloop"), port) as server:
            wait_for("addresses that other servers block are blocked here as well", server)
            before, cpu = len(server.text), psutil.Process(server.process.pid).cpu_times()
            time.sleep(5)  # polls
            after = psutil.Process(server.process.pid).cpu_times()
            assert len(server.text) == before
            assert (after.user + after.system) - (cpu.user + cpu.system) < 0.25  # 5 % of a core
            assert connect(server.port, client(ca=files.ca_text)).protocol == "TLSv1.3"
        assert {known.type(name) for name in known.scan_iter()} == {b"stream"}
        assert 0 < known.ttl("asgi_tls:blocks") <= 300


class Blocked(dict[str, float]):
    """What a guard does with the blocks of others."""

    def __call__(self, blocks: Sequence[tuple[str, float]]) -> bool:
        new = {key: seconds for key, seconds in blocks if key not in self}
        self.update(new)
        return bool(new)


def test_blocks_of_others_are_read_once_and_checked(tmp_path: Path) -> None:
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    with redis(tmp_path, port), Redis(port=port) as known:
        fast, slow = Blocked(), Blocked()
        one, other = Fleet(url, 5, 60.0, 300.0, fast), Fleet(url, 5, 60.0, 10.0, slow)
        seconds, _ = known.time()
        for number, fields in (
            (seconds - 200, {"key": "192.0.2.2", "seconds": "100"}),  # has ended
            (seconds - 100, {"key": "192.0.2.6", "seconds": "300"}),
            (seconds - 1, {"key": "not an address", "seconds": "100"}),
            (seconds, {"key": "192.0.2.4", "seconds": "inf"}),
            (seconds + 1, {"key": "192.0.2.5"}),
            (seconds + 86_400, {"key": "192.0.2.3", "seconds": "100"}),  # by a clock that was a day ahead
        ):
            known.xadd("asgi_tls:blocks", fields, id=f"{number * 1000}-0")
        for key in ("192.0.2.1", "2001:db8::/64"):
            one.turn((key, math.inf))
        for fleet in (one, other):
            fleet._next_look = 0.0
            fleet.turn(None)
        assert set(fast) == {"192.0.2.1", "2001:db8::/64", "192.0.2.3", "192.0.2.6"}
        assert 195 < fast["192.0.2.6"] <= 200
        assert set(slow) == {"192.0.2.1", "2001:db8::/64", "192.0.2.3"}  # looks back as far as it blocks
        assert (slow["192.0.2.3"], slow["192.0.2.1"]) == (100, 300)
        # Each is read once, whatever becomes of the clock and of the block here.
        slow.clear()
        other._next_look = 0.0
        other.turn(None)
        assert not slow
        # Half of the failures on each: neither would block alone.
        for _ in range(2):
            one.turn(("198.51.100.1", 1.0))
            other.turn(("198.51.100.1", 1.0))
        assert "198.51.100.1" not in fast
        one.turn(("198.51.100.1", 1.0))
        assert fast["198.51.100.1"] == 300
        assert not list(known.scan_iter("asgi_tls:failed:*"))


def test_a_server_that_is_no_redis_gets_no_password_into_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """It quotes the command that it does not know."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        fleet = Fleet(f"redis://:hunter2@127.0.0.1:{port}/0", 5, 60.0, 300.0, Blocked())

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                asked = connection.recv(4096).replace(b"\r\n", b" ")
                assert b"hunter2" in asked
                connection.sendall((b"-ERR unknown command, with args beginning with: " + asked + b"\r\n") * 2)
                connection.recv(1)

        answering = threading.Thread(target=answer)
        answering.start()
        fleet.turn(("192.0.2.1", 1.0))
        del fleet
        gc.collect()
        answering.join(10)
    assert "Redis does not answer" in caplog.text
    assert "hunter2" not in caplog.text


def test_the_thread_ends_with_the_guard() -> None:
    before = set(threading.enumerate())
    guard = HandshakeGuard(redis="redis://127.0.0.1:1/0")
    guard.start(lambda _: None)
    assert [each.name for each in set(threading.enumerate()) - before] == ["asgi_tls fleet"]
    del guard
    deadline = time.monotonic() + PATIENCE
    while set(threading.enumerate()) - before:
        gc.collect()
        assert time.monotonic() < deadline
        time.sleep(0.05)
