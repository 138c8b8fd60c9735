"""Renewals under load lose nothing, and their work stays out of the event loop."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

import psutil
from files import Files
from handshakes import client, connect
from launch import Launch
from load import Load
from patience import PATIENCE
from renewals import Site, renamed

from asgi_tls import ServerTLS
from asgi_tls.events import CertificateLoadedEvent, Event


def test_renewals_under_load_lose_nothing(files: Files, tmp_path: Path) -> None:
    """30 of them, ECDSA and RSA in turns; afterwards no memory is held that the first ones did not need."""
    site = Site(files.pki, tmp_path)
    with Launch("uvicorn", "uvloop").start(site.source, {"reload_interval": "600"}) as server:
        process, memory = psutil.Process(server.process.pid), [0, 0]
        load = Load(server.port, client(ca=files.ca_text))
        with load.running():
            for number in range(30):
                if number == 10:
                    memory[0] = process.memory_info().rss
                pair = site.next_pair(key="rsa" if number % 2 else "ecdsa")
                renamed(site, pair)
                process.send_signal(signal.SIGHUP)
                deadline = time.monotonic() + PATIENCE
                while connect(server.port, client(ca=files.ca_text), path=None).certificate != pair.der:
                    assert time.monotonic() < deadline, server.text
            memory[1] = process.memory_info().rss
    assert load.lost == []
    assert load.closed == 0
    assert load.connections > 50
    assert load.requests > 50
    assert memory[1] - memory[0] < 2 << 20


def test_the_event_loop_does_not_do_the_work(files: Files, tmp_path: Path) -> None:
    """A renewal costs the CPU of another thread; CPU time is the same on a busy machine."""
    site = Site(files.pki, tmp_path)
    pairs = [site.next_pair(key=key) for key in ("rsa", "ecdsa") * 3]

    async def main() -> tuple[float, float]:
        loaded = asyncio.Event()
        loop = asyncio.get_running_loop()

        def listen(event: Event) -> None:
            if isinstance(event, CertificateLoadedEvent):
                loop.call_soon_threadsafe(loaded.set)

        context = ServerTLS(site.source, reload_interval=600, listeners=[listen]).create_server_context()
        await loaded.wait()
        in_loop = in_all = 0.0
        for pair in pairs:
            site.write(pair, site.mount)
            loaded.clear()
            before = time.thread_time(), time.process_time()
            context.reload()
            await loaded.wait()
            in_loop += time.thread_time() - before[0]
            in_all += time.process_time() - before[1]
        return in_loop, in_all

    in_loop, in_all = asyncio.run(main())
    assert in_loop < in_all / 4
