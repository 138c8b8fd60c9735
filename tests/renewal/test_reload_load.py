"""Renewals under load lose nothing, and their work stays out of the event loop."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from pathlib import Path

from files import Files
from renewals import Site

from asgi_tls import ServerTLS
from asgi_tls.events import CertificateLoadedEvent, Event

BENCH = Path(__file__).parents[2] / "bench" / "reload.py"


def test_renewals_under_load_lose_nothing() -> None:
    """The measurement of `make bench`, in short."""
    done = subprocess.run(
        [sys.executable, str(BENCH), "--reloads", "80"], capture_output=True, text=True, timeout=120, check=True
    )
    figures = dict(re.findall(r"^ *(.+?): +([-+.\d]+)", done.stdout, re.MULTILINE))
    handshakes, requests = map(int, re.findall(r"(\d+) (?:handshakes|requests)", done.stdout))
    assert handshakes > 50
    assert requests > 50
    assert figures["failed handshakes and requests"] == "0", done.stdout
    assert float(figures["memory, after the last 90 %"]) < 2, done.stdout


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
