"""1,000 renewals under load: failed handshakes and requests, the longest stall of the event loop, and memory.

    python -m bench.reload [--reloads N]

uvicorn serves in this process, on its default loop; another process makes new handshakes and kept-alive requests as
fast as it can. Each renewal replaces the files by the other pair of two (ECDSA and RSA), sends SIGHUP and waits until
the certificate is served. A stall is the delay of a timer of 1 ms in the server's loop. Machines stall by
themselves, so the same load without renewals is measured first, and each renewal's longest stall is compared with the
longest of an equally long time without one.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import uvicorn

from asgi_tls import PEMFiles, ServerTLS
from asgi_tls.dev.ca import LocalCA
from asgi_tls.events import CertificateLoadedEvent, Event

if TYPE_CHECKING:
    from collections.abc import Iterator

RELOADS = 1000
WARM_UP = 0.1  # the share of the renewals before memory is first measured
LONG = 10.0  # milliseconds
MEBIBYTE = 1 << 20


@dataclass
class Figures:
    """The results of a run. Stalls in milliseconds, memory in MiB."""

    handshakes: int = 0
    requests: int = 0
    failures: list[str] = field(default_factory=list)
    stall_ms: float = 0.0
    typical_stall_ms: float = 0.0
    long_stalls: int = 0
    long_stalls_without: int = 0
    stall_without_ms: float = 0.0
    growth_mib: float = 0.0


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer with two bytes."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


class Stalls:
    """How late a timer of 1 ms is, in the loop that serves."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def watch(self) -> None:
        while True:
            due = time.perf_counter() + 0.001
            await asyncio.sleep(0.001)
            self.longest = max(self.longest, time.perf_counter() - due)

    def take(self) -> float:
        """The longest since the last call, in milliseconds."""
        longest, self.longest = self.longest, 0.0
        return longest * 1000


class Pairs:
    """An ECDSA and an RSA pair of one local CA, in turns in the same two files."""

    def __init__(self, directory: Path) -> None:
        ca = LocalCA(directory / "home")
        issued = ca.issue(["localhost"], directory=directory / "served")
        self.ca = ca.certificate_path
        self.source = PEMFiles(issued.certfile, issued.keyfile)
        self.files = [Path(path) for path in (issued.certfile, issued.keyfile)]
        ecdsa = [path.read_bytes() for path in self.files]
        self._texts = [_rsa_pair(ca, directory / "rsa"), ecdsa]

    def turns(self) -> Iterator[None]:
        while True:
            for texts in self._texts:
                for path, text in zip(self.files, texts, strict=True):
                    new = path.with_suffix(".new")
                    new.write_bytes(text)
                    new.replace(path)
                yield


def _rsa_pair(ca: LocalCA, directory: Path) -> list[bytes]:
    """Signed by the same CA, with openssl: the local CA itself makes ECDSA keys."""
    directory.mkdir()
    key, request, cert = (directory / name for name in ("key.pem", "request.pem", "cert.pem"))
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    commands = [
        ["openssl", "req", "-newkey", "rsa:2048", "-noenc", "-keyout", key, "-out", request, *subject],
        ["openssl", "x509", "-req", "-in", request, "-CA", ca.certificate_path, "-CAkey", _ca_key(ca), "-out", cert,
         "-days", "30", "-copy_extensions", "copy"],
    ]  # fmt: skip
    for command in commands:
        subprocess.run([str(part) for part in command], check=True, capture_output=True)
    return [cert.read_bytes(), key.read_bytes()]


def _ca_key(ca: LocalCA) -> Path:
    return ca.certificate_path.with_name("ca-key.pem")


async def measure(reloads: int, directory: Path) -> Figures:
    """Serve, load, renew `reloads` times. Call it in the main thread."""
    loaded, stalls, figures = asyncio.Event(), Stalls(), Figures()

    def listen(event: Event) -> None:
        if isinstance(event, CertificateLoadedEvent):
            loaded.set()

    pairs = Pairs(directory)
    tls = ServerTLS(pairs.source, reload_interval=600, listeners=[listen])
    config = uvicorn.Config(app, port=0, log_level="warning", access_log=False, lifespan="off", **tls.uvicorn_kwargs())
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # uvicorn has no event for it
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    # A module of its own name: the client must not import what the server needs.
    client = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--client", str(port), str(pairs.ca), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    watching = asyncio.create_task(stalls.watch())
    await asyncio.sleep(0.5)
    process, turns, during = psutil.Process(), pairs.turns(), []
    stalls.take()
    started = time.perf_counter()
    for number in range(reloads):
        if number == int(reloads * WARM_UP):
            memory = process.memory_info().rss
        await asyncio.to_thread(next, turns)
        loaded.clear()
        stalls.take()
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.wait_for(loaded.wait(), 10)
        during.append(stalls.take())
    each = (time.perf_counter() - started) / reloads
    figures.growth_mib = (process.memory_info().rss - memory) / MEBIBYTE
    without = []
    for _ in range(reloads):
        stalls.take()
        await asyncio.sleep(each)
        without.append(stalls.take())
    figures.stall_ms, figures.stall_without_ms = max(during), max(without)
    figures.long_stalls = sum(stall >= LONG for stall in during)
    figures.long_stalls_without = sum(stall >= LONG for stall in without)
    figures.typical_stall_ms = sorted(during)[len(during) // 2]
    said, _ = await client.communicate(b"\n")
    watching.cancel()
    server.should_exit = True
    await serving
    counted = json.loads(said)
    figures.handshakes, figures.requests, figures.failures = (
        counted[name] for name in ("handshakes", "requests", "failures")
    )
    return figures


def load(port: int, ca: str) -> None:
    """The other process: make load until a line arrives on standard input."""
    stop, context = threading.Event(), ssl.create_default_context(cafile=ca)
    counts, failures = {"handshakes": 0, "requests": 0}, []

    def fetch(connection: http.client.HTTPSConnection) -> None:
        connection.request("GET", "/")
        answer = connection.getresponse()
        if (answer.status, answer.read()) != (200, b"ok"):
            raise ConnectionError(f"status {answer.status}")

    def new_handshakes() -> None:
        connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=10)
        fetch(connection)
        connection.close()
        counts["handshakes"] += 1

    kept = http.client.HTTPSConnection("localhost", port, context=context, timeout=10)
    kept.connect()
    kept.auto_open = 0  # a lost connection must be counted, not opened again

    def kept_alive() -> None:
        fetch(kept)
        counts["requests"] += 1

    def again(action: Any) -> None:
        while not stop.is_set():
            try:
                action()
            except (OSError, http.client.HTTPException) as error:
                failures.append(f"{action.__name__}: {error!r}")
                stop.wait(0.1)

    threads = [threading.Thread(target=again, args=(action,)) for action in (new_handshakes, kept_alive)]
    for thread in threads:
        thread.start()
    sys.stdin.readline()
    stop.set()
    for thread in threads:
        thread.join()
    print(json.dumps({**counts, "failures": failures[:10]}))


def run(reloads: int = RELOADS) -> Figures:
    """Measure, and print the four figures."""
    with tempfile.TemporaryDirectory() as directory:
        figures = asyncio.run(measure(reloads, Path(directory)))
    print(f"{reloads} reloads, ECDSA and RSA in turns; {figures.handshakes} handshakes, {figures.requests} requests")
    print(f"failed handshakes and requests:  {len(figures.failures):8}      (0) {' '.join(figures.failures)}")
    print(f"longest stall in a reload:       {figures.stall_ms:8.1f} ms   (under 10)")
    print(f"  reloads with one of 10 ms:     {figures.long_stalls:8}")
    print(f"  typical longest stall:         {figures.typical_stall_ms:8.1f} ms")
    print(f"  longest without reloads:       {figures.stall_without_ms:8.1f} ms")
    print(f"  as long without reloads:       {figures.long_stalls_without:8}")
    print(f"memory, after the last 90 %:     {figures.growth_mib:+8.2f} MiB  (within 2)")
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reloads", type=int, default=RELOADS)
    parser.add_argument("--client", nargs=2, metavar=("PORT", "CA"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client:
        load(int(options.client[0]), options.client[1])
    else:
        run(options.reloads)


if __name__ == "__main__":
    main()
