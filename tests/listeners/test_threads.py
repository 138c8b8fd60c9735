"""What a context starts in its process ends with it."""

from __future__ import annotations

import asyncio
import atexit
import gc
import subprocess
import sys
import threading
import time

import pytest
from files import Files
from patience import PATIENCE

from asgi_tls import ServerTLS


def count_atexit() -> int:
    number: int = atexit._ncallbacks()
    return number


def ours(before: set[threading.Thread]) -> list[str]:
    return [each.name for each in threading.enumerate() if each not in before and each.name.startswith("asgi_tls")]


@pytest.mark.parametrize("looping", [False, True], ids=["without a loop", "in a loop"])
def test_dropped_contexts_leave_no_thread_and_no_callback(files: Files, looping: bool) -> None:
    """In a loop there are a reloader and a watch of directories for each, too; files are looked at once an hour."""
    tls = ServerTLS(files.ecdsa, reload_interval=3600)

    async def make(count: int) -> None:
        for _ in range(count):
            tls.create_context()

    def made(count: int) -> None:
        if looping:
            asyncio.run(make(count))
        else:
            for _ in range(count):
                tls.create_context()

    made(1)  # what there is once for a process
    before, callbacks = set(threading.enumerate()), count_atexit()
    made(10)
    assert count_atexit() == callbacks
    deadline = time.monotonic() + PATIENCE
    while True:
        gc.collect()
        if not (left := ours(before)):
            break
        assert time.monotonic() < deadline, left
        time.sleep(0.01)


def test_the_last_event_reaches_a_listener_when_the_process_ends() -> None:
    script = (
        "from asgi_tls.events import GuardEvent\n"
        "from asgi_tls.listeners.dispatch import Dispatcher\n"
        "dispatcher = Dispatcher([lambda event: print(event.ip)])\n"
        "dispatcher.tell(GuardEvent(ip='192.0.2.1', action='blocked', failures=1, window_s=1, connections=0))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "192.0.2.1\n"
