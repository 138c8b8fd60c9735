"""Silent connections cost little, disturb nobody, and end at the limit. The long form is in tests/system."""

from __future__ import annotations

import psutil
import pytest
from crowd import allow_descriptors, closed, silent
from files import Files
from handshakes import client, connect
from launch import Launch


def crowd(files: Files, launch: Launch, *, count: int, seconds: float, megabytes: float) -> None:
    allow_descriptors(count * 2 + 500)
    settings = {"handshake_timeout": str(seconds)}
    with launch.start(files.ecdsa, settings) as server:
        context = client(ca=files.ca_text)
        connect(server.port, context)
        process = psutil.Process(server.process.pid)
        before = process.memory_info().rss
        with silent(server.port, count) as sockets:
            served = 0
            for _ in range(25):
                assert connect(server.port, context).protocol == "TLSv1.3"
                served += 1
            grown = (process.memory_info().rss - before) / 2**20
            assert closed(sockets, seconds * 2 + 10) == count
        assert served == 25
        assert grown < megabytes
        assert connect(server.port, context).protocol == "TLSv1.3"
        assert "Traceback" not in server.text


@pytest.mark.parametrize("launch", [Launch("uvicorn", "asyncio"), Launch("hypercorn", "uvloop", 0)], ids=str)
def test_a_silent_crowd(files: Files, launch: Launch) -> None:
    crowd(files, launch, count=300, seconds=2.0, megabytes=40)
