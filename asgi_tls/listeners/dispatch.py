"""How events of handshakes reach their listeners: gates at once, in the event loop, the others in a thread.

A listener may write to a slow disk or lock: the loop only appends to a queue. The thread is woken at most every
`_BATCH` seconds, because a wake-up for each event would cost more than the event.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import Any, Final

from asgi_tls.events import Event, Gate, Listener, SessionEvent, Starting, applications, notify

logger = logging.getLogger("asgi_tls")

_BATCH: Final = 0.05
# About ten seconds of handshakes as fast as one process makes them. Beyond it events are counted and dropped.
_LIMIT: Final = 10_000


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
        self._wake = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._dropped = 0
        self._thread: threading.Thread | None = None
        for each in listeners:
            if isinstance(each, Starting):
                each.start(self.tell)

    def admits(self, ip: str) -> bool:
        """Whether every gate lets this address in. A gate that raises is logged, and lets it in."""
        for gate in self.gates:
            try:
                if not gate.admits(ip):
                    return False
            except Exception:
                logger.exception("the gate %r failed", gate)
        return True

    def tell(self, event: Event) -> None:
        """Hand an event to the gates now, and to the others soon. Never waits, never raises."""
        if self._others or applications():
            self._enqueue(event)
        if self.gates:
            notify(self.gates, event)

    def wants_sessions(self) -> bool:
        """Whether anybody would do something with a SessionEvent now. A listener may say no by `hears_sessions()`."""
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
            self._dropped += 1
            return
        self._queue.append(event)
        if not self._wake.is_set():
            self._idle.clear()
            if self._thread is None:
                self._begin()
            self._wake.set()

    def flush(self, seconds: float) -> bool:
        """Wait until the listeners have had every event; False when they need longer than that."""
        return self._idle.wait(seconds)

    @property
    def idle(self) -> bool:
        """Whether no event waits for a listener."""
        return self._idle.is_set()

    def _begin(self) -> None:
        self._thread = threading.Thread(target=self._run, name="asgi_tls listeners", daemon=True)
        self._thread.start()
        atexit.register(self.flush, 1.0)

    def _run(self) -> None:
        while True:
            self._wake.wait()
            time.sleep(_BATCH)
            self._wake.clear()
            while self._queue:
                event = self._queue.popleft()
                listeners = (*self._others, *applications())
                notify(listeners, SessionEvent(**event) if isinstance(event, dict) else event)
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                logger.warning("the listeners are too slow: %d events were dropped", dropped)
            self._idle.set()
            if self._queue:  # told in the meantime
                self._idle.clear()
