"""What several servers know together of failing addresses, in Redis: one count, and one list of blocks.

Everything is done in a thread: the event loop only puts into a queue. When Redis is gone, the processes go on with what
each of them counts, and one line of the log says so.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Final

logger = logging.getLogger("asgi_tls")

_BLOCKED: Final = "asgi_tls:blocked"  # a sorted set: address, and until when it is blocked
_POLL: Final = 1.0
_TIMEOUT: Final = 1.0
_RETRY: Final = 5.0
_WAITING: Final = 1000


class Fleet:
    """The shared count in the Redis at `url`; more failures than `limit` block an address for `seconds`.

    `on_block` is called from the thread for each address that another server has blocked.
    """

    def __init__(self, url: str, limit: Any, seconds: float, on_block: Callable[[str, float], None]) -> None:
        self._url, self._limit, self._seconds, self._on_block = url, limit, seconds, on_block
        self._work: queue.Queue[Callable[[], None]] = queue.Queue(_WAITING)
        self._storage: Any = None
        self._counter: Any = None
        self._was_down = False
        threading.Thread(target=self._run, name="asgi_tls fleet", daemon=True).start()

    def failed(self, key: str, cost: int) -> None:
        """Count a failure for everybody."""
        self._later(lambda: self._hit(key, cost))

    def block(self, key: str, until: float) -> None:
        """Tell everybody that an address is blocked."""
        self._later(lambda: self._storage.storage.zadd(_BLOCKED, {key: until}))

    def _later(self, work: Callable[[], None]) -> None:
        if not self._was_down:
            try:
                self._work.put_nowait(work)
            except queue.Full:  # more failures than Redis takes: what this process counts is enough to act on
                return

    def _hit(self, key: str, cost: int) -> None:
        if not self._counter.hit(self._limit, key, cost=cost):
            until = time.time() + self._seconds
            self._storage.storage.zadd(_BLOCKED, {key: until})
            self._on_block(key, until)

    def _run(self) -> None:
        from limits import storage, strategies

        self._storage = storage.RedisStorage(self._url, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT)
        self._counter = strategies.SlidingWindowCounterRateLimiter(self._storage)
        next_poll = 0.0
        while True:
            try:
                if time.monotonic() >= next_poll:
                    next_poll = time.monotonic() + _POLL
                    self._fetch()
                    self._is_up()
                wait = max(next_poll - time.monotonic(), 0.01)
                self._work.get(timeout=wait)()
            except queue.Empty:
                continue
            except Exception as error:  # noqa: BLE001 -- redis and limits raise many kinds, and none may end this
                self._is_down(error)
                time.sleep(_RETRY)
                next_poll = 0.0

    def _fetch(self) -> None:
        now = time.time()
        blocked = self._storage.storage
        blocked.zremrangebyscore(_BLOCKED, "-inf", now)
        for name, until in blocked.zrangebyscore(_BLOCKED, now, "+inf", withscores=True):
            self._on_block(name.decode("ascii"), float(until))

    def _is_down(self, error: Exception) -> None:
        if not self._was_down:
            self._was_down = True
            logger.warning("Redis does not answer, so each process counts failed handshakes for itself: %s", error)
        while not self._work.empty():
            self._work.get_nowait()

    def _is_up(self) -> None:
        if self._was_down:
            self._was_down = False
            logger.info("Redis answers again: failed handshakes are counted for the whole fleet")
