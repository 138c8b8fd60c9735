"""How long a test waits for what must happen: long enough for a machine that is busy with something else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from servers import Server

PATIENCE: Final = 60.0
"""Seconds. It ends a test that would hang, and says nothing about how fast anything is."""


def until(condition: Callable[[], object], server: Server | None = None, *, patience: float = PATIENCE) -> None:
    """Wait for what nobody announces. The failure shows what the server has printed."""
    deadline = time.monotonic() + patience
    for pause in _pauses():
        if condition():
            return
        assert time.monotonic() < deadline, server and server.text
        time.sleep(pause)


async def until_in_loop(condition: Callable[[], object]) -> None:
    """The same in an event loop."""
    deadline = time.monotonic() + PATIENCE
    for pause in _pauses():
        if condition():
            return
        assert time.monotonic() < deadline
        await asyncio.sleep(pause)


def _pauses() -> Iterator[float]:
    """Longer and longer: some conditions cost a handshake."""
    pause = 0.005
    while True:
        yield pause
        pause = min(1.5 * pause, 0.1)
