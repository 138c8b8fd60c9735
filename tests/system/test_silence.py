"""5,000 silent connections for 30 seconds beside a client that goes on asking."""

from __future__ import annotations

import time

import psutil
import pytest
from crowd import allow_descriptors, closed, silent
from files import Files
from handshakes import client, connect
from launch import Launch

pytestmark = pytest.mark.system

COUNT, SECONDS = 5_000, 30.0
# A socket and two callbacks; the transports of the first of them beside it.
PER_CONNECTION = 16 * 1024


@pytest.mark.parametrize("launch", [Launch("uvicorn", "uvloop"), Launch("hypercorn", "asyncio")], ids=str)
def test_a_silent_crowd(files: Files, launch: Launch) -> None:
    allow_descriptors(3 * COUNT)
    with launch.start(files.ecdsa, {"handshake_timeout": str(SECONDS)}) as server:
        context = client(ca=files.ca_text)
        connect(server.port, context)
        process = psutil.Process(server.process.pid)
        before, started, slowest = process.memory_info().rss, time.monotonic(), 0.0
        with silent(server.port, COUNT) as sockets:
            while time.monotonic() - started < SECONDS - 5:
                asked = time.monotonic()
                assert connect(server.port, context).protocol == "TLSv1.3"
                slowest = max(slowest, time.monotonic() - asked)
                time.sleep(0.1)
            assert process.memory_info().rss - before < COUNT * PER_CONNECTION
            assert closed(sockets, 40) == COUNT
        print(f"{launch}: {(process.memory_info().rss - before) / 2**20:.0f} MB after, slowest answer {slowest:.2f} s")
        assert slowest < 5
        assert connect(server.port, context).protocol == "TLSv1.3"
        assert "Traceback" not in server.text
