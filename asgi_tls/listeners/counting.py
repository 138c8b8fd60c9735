"""Counts that stay small whatever the peers do. Their clock is monotonic: setting the system's changes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

Clock = Callable[[], float]


class SlidingCounts:
    """What each key has collected within the last `window` seconds, for `most` keys; the longest idle is forgotten.

    A window begins with a key's first count. What was counted in the window before is taken as spread evenly over it.
    """

    def __init__(self, window: float, most: int, clock: Clock = time.monotonic) -> None:
        self._window, self._most, self._clock = window, most, clock
        self._counts: dict[str, tuple[float, float, float]] = {}  # since when, before that, since then

    def add(self, key: str, amount: float) -> float:
        """Count, and return what the key has now."""
        now = self._clock()
        since, before, current = self._counts.pop(key, (now, 0.0, 0.0))
        if now - since >= 2 * self._window:
            since, before, current = now, 0.0, 0.0
        elif now - since >= self._window:
            since, before, current = since + self._window, current, 0.0
        current += amount
        if len(self._counts) >= self._most:
            self.forget(next(iter(self._counts)))
        self._counts[key] = since, before, current  # the last one now
        return current + before * (1 - (now - since) / self._window)

    def forget(self, key: str) -> None:
        """Begin again at 0."""
        self._counts.pop(key, None)


class Shares:
    """Which keys make up a large part of everything, by the Misra-Gries summary: a share is never overestimated, and
    underestimated by less than 1 / `_KEPT`. Each half hour all that was counted is worth half as much.
    """

    _KEPT: Final = 64
    _HALF_LIFE: Final = 1800.0

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._counts: dict[str, float] = {}
        self._total = 0.0
        self._halve_at = clock() + self._HALF_LIFE

    def add(self, key: str) -> None:
        """Count one more of this key."""
        self._total += 1
        if key in self._counts:
            self._counts[key] += 1
        elif len(self._counts) < self._KEPT:
            self._counts[key] = 1
        else:
            self._counts = {each: count - 1 for each, count in self._counts.items() if count > 1}

    def of(self, key: str) -> tuple[float, float]:
        """How many of this key there were lately, and what share of all that is."""
        while self._clock() >= self._halve_at:
            self._halve_at += self._HALF_LIFE
            self._total /= 2
            self._counts = {each: count / 2 for each, count in self._counts.items()}
        count = self._counts.get(key, 0.0)
        return count, count / self._total if count else 0.0
