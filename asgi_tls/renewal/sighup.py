"""SIGHUP: reload the certificates at once, in place. Windows has no such signal, and nothing is done there.

A process has one handler for a signal, so there is one here for all servers in it. The application's own handler is
called as well, whether it was set before ours or is set later.
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

# Seconds until our handler is put in front of one that the application has set meanwhile.
_LOOK_AGAIN: Final = 1.0


def reload_on_sighup(context: ServerContext) -> None:
    """Reload this context at each SIGHUP, while it lives. Does nothing outside the main thread, which alone may."""
    if not SUPPORTED or threading.current_thread() is not threading.main_thread():
        return
    _handler.contexts.add(context)
    _handler.take(running_loop())


class _Handler:
    def __init__(self) -> None:
        self.contexts: weakref.WeakSet[ServerContext] = weakref.WeakSet()
        self._previous: Any = signal.SIG_DFL if SUPPORTED else None

    def take(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Set our handler in front of the current one, and check later whether the application has set another."""
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
            # The servers are gone: let the signal do what it does by default.
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)


_handler: Final = _Handler()


def forward_sighup() -> None:
    """In a parent whose workers serve: forward each SIGHUP to them, where the server would restart them.

    The signal is blocked and waited for in a thread, so the server's own handler is never called. Workers start with it
    blocked and unblock it when they are ready, so no signal is lost, and none ends them. Call it in the main thread,
    before there are workers.
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
            "SIGHUP: reloading the certificates of %d worker%s; to change settings, restart the server",
            len(workers),
            "" if len(workers) == 1 else "s",
        )
        for pid in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGHUP)
