"""Server CPU and latency per new handshake and GET with events, log and metrics, compared with plain uvicorn."""

from __future__ import annotations

import os
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from bench.load import Running, certificate, cpu_per_connection, serving

ROUNDS, COUNT = 20, 100  # 2,000 handshakes for each server and loop


@dataclass(frozen=True)
class WholeProcess(Running):
    """Counts every thread, since the listeners have one of their own."""

    def cpu(self) -> float:
        """Seconds of CPU that all threads that are alive have used so far."""
        tasks = Path(f"/proc/{self.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text(encoding="ascii").split()[0]) for task in tasks) / 1e9


def run() -> None:
    """Print a line for each event loop and listener. The aim is a ratio of at most 1.10, for CPU and for latency."""
    # With this variable metrics are in files, for several processes; one process counts in memory.
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
    with certificate() as (ca, certfile, keyfile), socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        metrics = f"--tls-metrics=127.0.0.1:{free.getsockname()[1]}"
        free.close()
        context = ssl.create_default_context(cafile=ca)
        files = ["--ssl-certfile", certfile, "--ssl-keyfile", keyfile]
        common = ["hello_app:app", "--port", "{port}", "--no-access-log", "--log-level", "warning", *files]
        ways = {"log and metrics": [metrics], "a JSON line for each handshake": ["--tls-log-json"]}
        for loop in ("asyncio", "uvloop"):
            for name, options in ways.items():
                with (
                    serving("-m", "uvicorn", *common, "--loop", loop) as plain,
                    serving("-m", "asgi_tls", "uvicorn", *common, "--loop", loop, *options) as ours,
                ):
                    servers = [WholeProcess(plain.pid, plain.port), WholeProcess(ours.pid, ours.port)]
                    base, seen = cpu_per_connection(servers, context, rounds=ROUNDS, count=COUNT)
                print(
                    f"{loop}, {name}: {seen[0] * 1e6:.0f} us of server CPU per handshake and GET, plain uvicorn "
                    f"{base[0] * 1e6:.0f} us: ratio {seen[0] / base[0]:.3f}; median handshake {seen[1] * 1e6:.0f} us, "
                    f"plain uvicorn {base[1] * 1e6:.0f} us: ratio {seen[1] / base[1]:.3f} ({ROUNDS * COUNT} each)"
                )
