"""The thread that looks at the files: every `interval` seconds, when `watchfiles` sees a change, and on request.

It is a thread in every server alike: gunicorn's sync workers have no event loop, and parsing a key takes longer than an
event loop should wait. What is done with good files is up to a `Keeper`: a worker serves them (`reloader.py`), a parent
keeps them for workers that are started later (`parent.py`).
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import queue
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, Final, Protocol

from asgi_tls.errors import ASGITLSError
from asgi_tls.renewal.inventory import Inventory, Item, Offer, Round
from asgi_tls.renewal.stamps import stamp_of
from asgi_tls.renewal.watch import DirectoryWatch, load_watchfiles

logger = logging.getLogger("asgi_tls")

# A certificate and its key are written one after the other: files that still change are left alone for a moment.
_SETTLE: Final = 0.05
_SETTLE_ATTEMPTS: Final = 10

# While something is bad or gone that may be good again in a moment.
_SOON: Final = 0.2

# Looking at thousands of files takes at most this share of a core, where it would not delay a renewal by more than half
# a minute. A look that takes less CPU, in seconds, does not count.
_SHARE: Final = 0.0025
_LITTLE: Final = 0.01
_LONGEST: Final = 30.0

_NOW: Final = "now"
_CHANGED: Final = "changed"


class Over(Exception):  # noqa: N818 -- not an error: the one that the thread works for is gone
    pass


class Keeper(Protocol):
    """Whom the files are followed for."""

    @property
    def is_over(self) -> bool:
        """Whether it needs the files no longer."""

    def serve(self, offer: Offer, found: Round) -> None:
        """Take what was loaded into use. Raises ASGITLSError, and nothing has changed then."""

    def report(self, item: Item[Any], error: ASGITLSError) -> None:
        """Files have been bad for a while."""

    def unchanged(self) -> None:
        """Asked to read everything at once, and the files are those that are in use."""

    def rest(self) -> None:
        """Called after each look."""


class Follower:
    """Keeps an inventory equal to what is on disk, from `start` until nobody else holds its keeper.

    `busy` is held while it works. `sleep` waits until files have settled.
    """

    def __init__(
        self, inventory: Inventory, keeper: Keeper, *, interval: float, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.busy = threading.Lock()
        self._inventory = inventory
        self._interval = interval
        self._sleep = sleep
        self._cost = 0.0  # seconds of CPU of the last look
        # A SimpleQueue may be filled from a signal handler, whatever the interrupted code was doing.
        self._wakes = wakes = queue.SimpleQueue[str]()
        self._keeper = weakref.ref(keeper, lambda _: wakes.put(_CHANGED))

    def start(self) -> None:
        """Run in a daemon thread: it never keeps a process from ending."""
        load_watchfiles()
        threading.Thread(target=self._run, name="asgi_tls-reload", daemon=True).start()

    def wake(self) -> None:
        """Read everything at once. Safe in a signal handler; returns before it is done."""
        self._wakes.put(_NOW)

    def nudge(self) -> None:
        """Look now instead of at the next time. Returns before it is done."""
        self._wakes.put(_CHANGED)

    def look(self, *, at_once: bool = False) -> None:
        """Load what has changed, serve what is good of it, and report what is not. `at_once` reads all contents, waits
        for nothing to settle, and reports without delay.
        """
        inventory, keeper = self._inventory, self._living()
        before = time.thread_time()
        items = inventory.changed(time.monotonic(), interval=between(self._interval, self._cost), at_once=at_once)
        if not at_once:
            self._cost = time.thread_time() - before
        if items and not at_once:
            settle(lambda: [stamp_of(item.files) for item in items], self._sleep)
        found = inventory.attempt(items, time.monotonic())
        if at_once and not found.differs:
            keeper.unchanged()
        offer = inventory.offer(found)
        if found.is_news:
            try:
                keeper.serve(offer, found)
            except ASGITLSError as refusal:
                found.refuse(refusal, *found.loaded)
                offer = inventory.offer(found)
        now = time.monotonic()
        inventory.commit(found, offer, now)
        for item, error in inventory.overdue(now, at_once=at_once):
            keeper.report(item, error)

    def _run(self) -> None:
        with contextlib.suppress(Over), DirectoryWatch(lambda: self._wakes.put(_CHANGED)) as watch:
            while True:
                self._survive(lambda: watch.update(self._inventory.items, self._inventory.directory))
                at_once = self._wait() == _NOW
                if at_once and multiprocessing.parent_process() is None:  # a parent logs it for all of its workers
                    logger.info("reloading certificates, as requested; to change settings, restart the server")
                self._survive(lambda at_once=at_once: self._work(at_once=at_once))  # type: ignore[misc]

    def _work(self, *, at_once: bool) -> None:
        with self.busy:
            self.look(at_once=at_once)
        self._living().rest()

    def _survive(self, step: Callable[[], None]) -> None:
        """Whatever goes wrong in one step must not end the reloading."""
        try:
            step()
        except Over:
            raise
        except Exception:
            logger.exception("reloading failed; the certificates that were loaded last stay in use")

    def _wait(self) -> str | None:
        """What ended the pause, None where nothing did."""
        try:
            found = self._wakes.get(timeout=self._pause())
            while found != _NOW:
                found = self._wakes.get_nowait()
        except queue.Empty:
            return None
        finally:
            self._living()
        return found

    def _living(self) -> Keeper:
        keeper = self._keeper()
        if keeper is None or keeper.is_over:
            raise Over
        return keeper

    def _pause(self) -> float:
        if self._inventory.is_unsettled():
            return min(self._interval, _SOON)
        return between(self._interval, self._cost)


def between(interval: float, cost: float) -> float:
    """Seconds between two looks that are to be `interval` apart, and of which each takes `cost` seconds of CPU."""
    return interval if cost < _LITTLE else max(interval, min(cost / _SHARE, _LONGEST))


def settle(look: Callable[[], object], sleep: Callable[[float], None]) -> None:
    """Wait until two looks see the same, half a second at most."""
    before = look()
    for _ in range(_SETTLE_ATTEMPTS):
        sleep(_SETTLE)
        after = look()
        if after == before:
            return
        before = after
