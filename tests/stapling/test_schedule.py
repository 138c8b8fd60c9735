"""When the responder is asked again, by tables."""

from __future__ import annotations

import pytest

from asgi_tls.stapling.schedule import again_after, due_after, is_time

HOUR = 3600.0


def test_a_response_is_replaced_after_half_of_its_life_by_each_process_at_another_time() -> None:
    moments = {due_after(100.0, 1100.0, 100.0) for _ in range(200)}
    assert 600 <= min(moments) < 610
    assert 690 < max(moments) <= 700


@pytest.mark.parametrize(
    ("next_update", "due"),
    [
        (1100.0, 1025.0),  # a quarter of what is left
        (1002.0, 1001.0),  # a second at least
        (1000.0 + 8 * HOUR, 1000.0 + HOUR),  # an hour at most
    ],
)
def test_a_response_whose_half_is_over_is_not_asked_for_at_once(next_update: float, due: float) -> None:
    assert due_after(-1e6, next_update, 1000.0) == due


@pytest.mark.parametrize(
    ("failures", "until", "pause"),
    [
        (1, None, 10.0),
        (2, None, 20.0),
        (5, None, 160.0),
        (10, None, HOUR),
        (1_000_000, None, HOUR),
        (10, 1000.0 + 400, 200.0),  # half of what is left of the response
        (10, 1000.0 + 1, 10.0),
        (10, 0.0, 10.0),
        (1, 1000.0 + 400, 10.0),
    ],
)
def test_pauses_grow_and_are_shorter_near_the_end_of_the_response(
    failures: int, until: float | None, pause: float
) -> None:
    moments = {again_after(failures, 1000.0, until) - 1000 for _ in range(200)}
    assert 0.8 * pause - 1e-9 <= min(moments) < 0.85 * pause
    assert 1.15 * pause < max(moments) <= 1.2 * pause + 1e-9


@pytest.mark.parametrize(
    ("at", "again_at", "now", "first", "answer"),
    [
        (0.0, 5.0, 4.9, False, False),
        (0.0, 5.0, 5.0, False, True),
        (1e9, 1e9 + 5.0, 1e9 + 4.9, False, False),
        (0.0, 2 * HOUR, 0.0, False, False),
        (0.0, 2 * HOUR + 1, 0.0, False, True),  # no pause is that long: the clock was set back
        (0.0, 5.0, 10.0, True, False),
        (0.0, 5.0, 10.1, True, True),
        (20.0, 25.0, 10.0, True, False),
        (20.1, 25.0, 10.0, True, True),
    ],
)
def test_whether_to_ask_now(at: float, again_at: float, now: float, first: bool, answer: bool) -> None:
    assert is_time(at, again_at, now, first=first) is answer
