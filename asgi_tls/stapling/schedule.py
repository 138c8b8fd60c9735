"""When to send the next request. Times are seconds since the epoch."""

from __future__ import annotations

import random
from typing import Final

_random: Final = random.SystemRandom()

# After the first failure; doubled after each further one, up to the longest.
_FIRST: Final = 10.0
_LONGEST: Final = 3600.0
# At a start, a failure of a sibling within this time counts as ours.
_JUST_NOW: Final = 10.0


def due_after(this_update: float, next_update: float, now: float) -> float:
    """When to replace a good response: after half of its lifetime, at a different time in each process.

    If half of it was over already, because the responder makes responses in advance, after a pause.
    """
    middle = this_update + (next_update - this_update) * _random.uniform(0.5, 0.6)
    return max(middle, now + min(max((next_update - now) / 4, 1.0), _LONGEST))


def again_after(failures: int, now: float, until: float | None) -> float:
    """When to try again after a number of consecutive failures. `until` is the end of the current response."""
    pause = min(_FIRST * 2.0 ** min(failures - 1, 20), _LONGEST)
    if until is not None:
        pause = min(pause, max(_FIRST, (until - now) / 2))
    return now + pause * _random.uniform(0.8, 1.2)


def is_time(at: float, again_at: float, now: float, *, first: bool) -> bool:
    """Whether to try again after a failure at `at`, of this process or a sibling. A new process does not wait long."""
    if first:
        return abs(now - at) > _JUST_NOW
    return now >= again_at or again_at - now > 2 * _LONGEST  # the clock was set back
