"""When to ask again. Times are seconds since the epoch."""

from __future__ import annotations

import random
from typing import Final

_random: Final = random.SystemRandom()

# After the first failure, doubled with each that follows, up to the longest.
_FIRST: Final = 10.0
_LONGEST: Final = 3600.0
# A sibling that failed within this time has asked for us too, at a start.
_JUST_NOW: Final = 10.0


def due_after(this_update: float, next_update: float, now: float) -> float:
    """When to replace a good response: past the middle of its life, some time later in each process.

    One that came late in its life, from a responder that makes them ahead, is asked for again in a while.
    """
    middle = this_update + (next_update - this_update) * _random.uniform(0.5, 0.6)
    return max(middle, now + min(max((next_update - now) / 4, 1.0), _LONGEST))


def again_after(failures: int, now: float, until: float | None) -> float:
    """When to try again after so many failures in a row. `until` is when the response that is stapled now ends."""
    pause = min(_FIRST * 2.0 ** min(failures - 1, 20), _LONGEST)
    if until is not None:
        pause = min(pause, max(_FIRST, (until - now) / 2))
    return now + pause * _random.uniform(0.8, 1.2)


def is_time(at: float, again_at: float, now: float, *, first: bool) -> bool:
    """Whether to ask again after a failure `at`, of ours or of a sibling. A process that starts does not wait long."""
    if first:
        return abs(now - at) > _JUST_NOW
    return now >= again_at or again_at - now > 2 * _LONGEST  # the clock was set back
