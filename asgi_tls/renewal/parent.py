"""A parent of workers follows the files as they do: a worker that starts later gets the last good values.

It serves nothing and reports nothing: its workers do.
"""

from __future__ import annotations

import logging
import os
import weakref
from typing import TYPE_CHECKING, Any, Final

from asgi_tls.renewal.follower import Follower

if TYPE_CHECKING:
    from asgi_tls.errors import ASGITLSError
    from asgi_tls.renewal.inventory import Inventory, Item, Known, Offer, Round

logger = logging.getLogger("asgi_tls")


class Parent:
    """What was good last, kept equal to the files once `follow` is called, while this object lives."""

    is_over = False

    def __init__(self, inventory: Inventory, *, interval: float) -> None:
        self._inventory = inventory
        self._follower = Follower(inventory, self, interval=interval)
        self._follows = False
        self._pid = os.getpid()

    def follow(self) -> None:
        """Start to, unless it was called before."""
        if not self._follows:
            self._follows = True
            _followed.add(self._follower)
            self._follower.start()

    @property
    def is_this_process(self) -> bool:
        """False in a child that was forked."""
        return self._pid == os.getpid()

    @property
    def good(self) -> Known:
        """What `Inventory.load` takes as known. It holds keys."""
        with self._follower.busy:
            return self._inventory.good

    def serve(self, _offer: Offer, found: Round) -> None:
        """Nothing but a line in the log."""
        for item in found.loaded:
            logger.info("%s renewed; workers that start later get it", item.name)

    def report(self, _item: Item[Any], _error: ASGITLSError) -> None:
        """Nothing: workers do."""

    def unchanged(self) -> None:
        """Nothing: workers report it."""

    def rest(self) -> None:
        """Nothing."""


# gunicorn's workers are forked from the process that follows: at that moment nothing is being loaded, since a child
# would have the locks of that, and no thread to release them.
_followed: Final[weakref.WeakSet[Follower]] = weakref.WeakSet()
_held: Final[list[Follower]] = []


def _hold() -> None:
    for follower in _followed:
        follower.busy.acquire()
        _held.append(follower)


def _release() -> None:
    while _held:
        _held.pop().busy.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold, after_in_parent=_release, after_in_child=_release)
