"""SIGHUP: the certificates are read again at once, in place. Windows has no such signal, and nothing is done there.

A process has one handler for a signal, so there is one here for every server in it. What the application had set is
called as well, whether it was set before or is set later.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
import weakref
from typing import TYPE_CHECKING, Any, Final

from asgi_tls.context.server_context import ServerContext
from asgi_tls.renewal.reloader import running_loop

if TYPE_CHECKING:
    import asyncio

logger = logging.getLogger("asgi_tls")

SUPPORTED: Final = hasattr(signal, "SIGHUP") and hasattr(signal, "pthread_sigmask")

# How long after a handler of the application's own took our place ours is set in front of it.
_LOOK_AGAIN: Final = 1.0


def reload_on_sighup(context: ServerContext) -> None:
    """Reload this context at each SIGHUP, while it lives. Does nothing outside the main thread, as signals have it."""
    if not SUPPORTED or threading.current_thread() is not threading.main_thread():
        return
    _handler.contexts.add(context)
    _handler.take(running_loop())


class _Handler:
    def __init__(self) -> None:
        self.contexts: weakref.WeakSet[ServerContext] = weakref.WeakSet()
        self._previous: Any = signal.SIG_DFL if SUPPORTED else None

    def take(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Stand in front of whatever handler there is, and come back to look: applications set theirs later."""
        if not self.contexts:
            return
        current = signal.getsignal(signal.SIGHUP)
        if current != self.handle:
            self._previous = current
            signal.signal(signal.SIGHUP, self.handle)
            # A parent may have blocked it while we could not yet take it: it arrives now.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
        if loop is not None:
            loop.call_later(_LOOK_AGAIN, self.take, loop)

    def handle(self, number: int, frame: Any) -> None:
        contexts = list(self.contexts)
        for context in contexts:
            context.reload()
        if callable(self._previous):
            self._previous(number, frame)
        elif not contexts and self._previous == signal.SIG_DFL:
            # The servers are gone: what the signal means without us.
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)


_handler: Final = _Handler()


def forward_sighup() -> None:
    """In a parent whose workers serve: send each SIGHUP on to them, where the server would restart them for it.

    The signal is blocked and waited for in a thread, so that the handler that the server sets is never called. Workers
    begin with it blocked, and take it when they are ready: none is lost and none kills them. Call it in the main
    thread, before there are workers.
    """
    if not SUPPORTED:
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    threading.Thread(target=_forward, name="asgi_tls-sighup", daemon=True).start()


def _forward() -> None:
    while True:
        signal.sigwait({signal.SIGHUP})
        workers = [child.pid for child in multiprocessing.active_children() if child.pid is not None]
        logger.info(
            "SIGHUP: each worker (%d) reads its certificates again; settings change with a restart", len(workers)
        )
        for pid in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGHUP)
