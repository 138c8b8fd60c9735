"""How events of handshakes reach their listeners: gates at once, in the event loop, the others in a thread.

A listener may wait for a slow disk or a lock, so the loop only appends to a queue. The thread wakes up every `_BATCH`
seconds at most, because a wake-up for each event would cost more than the event. It ends when there was no event for a
while, and the next event starts another: an idle context, or one that is no longer used, has no thread.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from asgi_tls.events import Event, Gate, Listener, SessionEvent, Starting, applications, notify

if TYPE_CHECKING:
    import asyncio

logger = logging.getLogger("asgi_tls")

_BATCH: Final = 0.05
_LINGER: Final = 0.2
# About ten seconds of handshakes as fast as one process makes them. Beyond it events are counted and dropped.
_LIMIT: Final = 10_000
# How long a process that ends waits for its listeners to take the last events.
_AT_EXIT: Final = 1.0


def _always() -> bool:
    return True


class Dispatcher:
    """Takes events in the server's process, after any fork. `start` is called on listeners that have it."""

    def __init__(self, listeners: Iterable[Listener]) -> None:
        listeners = tuple(listeners)
        self.gates = tuple(each for each in listeners if isinstance(each, Gate))
        self._others = tuple(each for each in listeners if not isinstance(each, Gate))
        self._hears_sessions = tuple(getattr(each, "hears_sessions", _always) for each in self._others)
        self._queue: deque[Event | dict[str, Any]] = deque()
        self._lock = threading.Lock()  # of the four below
        self._wake, self._idle = threading.Event(), threading.Event()
        self._runs = False
        self._idle.set()
        self._dropped = 0
        for each in listeners:
            if isinstance(each, Starting):
                each.start(self.tell)

    def admits(self, ip: str) -> bool:
        """Whether every gate admits this address. A gate that raises is logged, and admits it."""
        for gate in self.gates:
            try:
                if not gate.admits(ip):
                    return False
            except Exception:
                logger.exception("the gate %r failed", gate)
        return True

    def tell(self, event: Event) -> None:
        """Call the gates with an event now, and the other listeners soon. Never waits, never raises."""
        if self._others or applications():
            self._enqueue(event)
        if self.gates:
            notify(self.gates, event)

    def wants_sessions(self) -> bool:
        """Whether a listener would use a SessionEvent now. It may say no by `hears_sessions()`."""
        if self.gates or applications():
            return True
        for hears in self._hears_sessions:  # noqa: SIM110 -- at each handshake: a generator takes twice as long
            if hears():
                return True
        return False

    def tell_session(self, fields: dict[str, Any]) -> None:
        """The same for a SessionEvent, by its fields: it is made in the thread, where no handshake waits for it."""
        if self.gates:
            self.tell(SessionEvent(**fields))
        else:
            self._enqueue(fields)

    def _enqueue(self, event: Event | dict[str, Any]) -> None:
        if len(self._queue) >= _LIMIT:
            with self._lock:
                self._dropped += 1
            return
        self._queue.append(event)
        if not self._wake.is_set():
            self._rouse()

    def _rouse(self) -> None:
        with self._lock:
            self._idle.clear()
            if not self._runs:
                try:
                    threading.Thread(target=self._run, name="asgi_tls listeners", daemon=True).start()
                except RuntimeError as error:  # no thread left on this machine: the next event tries again
                    logger.warning("cannot hand events to the listeners yet: %s", error)
                    return
                self._runs = True
                _running.add(self)
            self._wake.set()

    def flush(self, seconds: float) -> bool:
        """Wait until the listeners have had every event; False when they need longer than that."""
        return self._idle.wait(seconds)

    @property
    def idle(self) -> bool:
        """Whether no event waits for a listener."""
        return self._idle.is_set()

    def _run(self) -> None:
        while self._wake.wait(_LINGER) or not self._ends():
            time.sleep(_BATCH)
            self._wake.clear()
            while self._queue:
                event = self._queue.popleft()
                listeners = (*self._others, *applications())
                notify(listeners, SessionEvent(**event) if isinstance(event, dict) else event)
            with self._lock:
                dropped, self._dropped = self._dropped, 0
            if dropped:
                logger.warning("the listeners are too slow: %d events were dropped", dropped)
            with self._lock:
                if not self._wake.is_set():
                    self._idle.set()

    def _ends(self) -> bool:
        with self._lock:
            if self._wake.is_set():
                return False
            self._runs = False
            _running.discard(self)
            return True


def in_loop(loop: asyncio.AbstractEventLoop | None, tell: Listener) -> Listener:
    """A listener for any thread, which hands over to the event loop where there is one."""
    if loop is None:
        return tell

    def listener(event: Event, /) -> None:
        try:
            loop.call_soon_threadsafe(tell, event)
        except RuntimeError:
            logger.debug("the event loop is closed: %s is not reported", event.event)

    return listener


_running: Final[set[Dispatcher]] = set()


@atexit.register
def _flush_all() -> None:
    deadline = time.monotonic() + _AT_EXIT
    for each in list(_running):
        each.flush(max(0.0, deadline - time.monotonic()))
