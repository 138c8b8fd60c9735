"""How long a test waits for what must happen: long enough for a machine that is busy with something else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from servers import Server

PATIENCE: Final = 60.0
"""Seconds. It ends a test that would hang, and says nothing about how fast anything is."""


def until(
    condition: Callable[[], object], server: Server | None = None, *, patience: float = PATIENCE, pause: float = 0.01
) -> None:
    """Wait for what nobody announces. The failure shows what the server has printed."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, server and server.text
        time.sleep(pause)


async def until_in_loop(condition: Callable[[], object]) -> None:
    """The same in an event loop."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
