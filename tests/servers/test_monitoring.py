"""The guard and the metrics in a running server."""

from __future__ import annotations

import socket
import ssl
import time
import urllib.request

import pytest
from files import Files
from handshakes import client, connect
from launch import Launch
from wire import events, say

from asgi_tls import PEMFiles


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def scrape(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


@pytest.mark.parametrize(
    "launch",
    [
        Launch("uvicorn", "uvloop", 2),
        pytest.param(Launch("hypercorn", "asyncio", 2), marks=pytest.mark.system),
        pytest.param(Launch("gunicorn", "asgi", 2), marks=pytest.mark.system),
    ],
    ids=str,
)  # fmt: skip
def test_metrics_of_all_workers(files: Files, launch: Launch) -> None:
    port = free_port()
    good, bad = 12, 7
    with launch.start(files.ecdsa, {"metrics": f"127.0.0.1:{port}"}) as server:
        for _ in range(good):
            connect(server.port, client(ca=files.ca_text))
        for _ in range(bad):
            say(server.port, b"\x00" * 20)
        deadline = time.monotonic() + 10
        while True:
            found = scrape(port)
            sessions = {name: value for name, value in found.items() if name.startswith("asgi_tls_handshakes_total")}
            failures = found.get('asgi_tls_handshake_failures_total{code="WRONG_VERSION_NUMBER"}', 0)
            if (sum(sessions.values()) >= good and failures >= bad) or time.monotonic() > deadline:
                break
            time.sleep(0.05)
    assert sum(sessions.values()) == good
    assert failures == bad
    (name,) = sessions
    assert 'protocol="TLSv1.3"' in name
    assert 'resumed="false"' in name
    assert found["asgi_tls_handshake_duration_seconds_count"] == good
    not_after = files.ecdsa.load().not_after.timestamp()
    assert found['asgi_tls_certificate_not_after_timestamp_seconds{name="localhost"}'] == pytest.approx(not_after)


@pytest.mark.parametrize("launch", [Launch("uvicorn", "uvloop"), Launch("hypercorn", "asyncio")], ids=str)
def test_a_flood_of_failures_is_blocked(files: Files, launch: Launch) -> None:
    command, env = launch.command(files.ecdsa, {"guard_allow": "192.0.2.0/24"})
    from servers import serve

    ready, count = launch.readiness()
    with serve([*command, "--tls-guard", "--tls-log-json"], env=env, ready=ready, count=count) as server:
        codes = []
        for _ in range(19):
            say(server.port, b"\x00" * 20)
        assert connect(server.port, client(ca=files.ca_text)).protocol == "TLSv1.3"
        say(server.port, b"\x00" * 20)
        for _ in range(3):
            said = say(server.port, b"\x00" * 20)
            assert said.data == b""
            assert said.seconds < 1
        with pytest.raises((ssl.SSLError, OSError)):
            connect(server.port, client(ca=files.ca_text))
        found = events(server, count=25, timeout=2)
        codes = [event["action"] for event in found if event["event"] == "tls_guard"]
        assert codes[0] == "blocked"
        assert "refused" in codes
        assert sum(event["event"] == "tls_client_error" for event in found) == 20
        assert "Traceback" not in server.text


def test_cpu_of_a_blocked_connection(files: Files) -> None:
    """Under a fifth of a failed handshake's."""
    launch = Launch("uvicorn", "uvloop")
    command, env = launch.command(PEMFiles(files.ecdsa.certfile, files.ecdsa.keyfile), {})
    from servers import Server, serve

    def cost(server: Server, count: int) -> float:
        before = cpu(server.process.pid)
        for _ in range(count):
            say(server.port, b"\x00" * 20)
        time.sleep(0.1)
        return (cpu(server.process.pid) - before) / count

    ready, count = launch.readiness()
    with (
        serve(command, env=env, ready=ready, count=count) as free,
        serve([*command, "--tls-guard"], env=env, ready=ready, count=count) as guarded,
    ):
        # In turns, and the best of each: other work on the machine falls on both, and costs caches.
        rounds = [(cost(free, 100), cost(guarded, 100)) for _ in range(5)][1:]
    failed, blocked = (min(each) for each in zip(*rounds, strict=True))
    assert blocked < failed / 5, (blocked, failed)


def cpu(pid: int) -> float:
    from pathlib import Path

    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
