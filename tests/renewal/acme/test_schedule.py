"""The schedule, by tables: when to order, and above all when not to."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asgi_tls.renewal.acme.schedule import (
    DAY,
    HOUR,
    MINUTE,
    Decision,
    Record,
    Window,
    about,
    begun,
    choice,
    decide,
    failed,
    forgiven,
    from_json,
    pause_after,
    put_off,
    stopped,
    succeeded,
    to_json,
    usual_time,
    wants_window,
    with_window,
)

NOW = 1_800_000_000.0


def issued(*, life: float = 90 * DAY, at: float = NOW, chance: float = 0.5, before: Record | None = None) -> Record:
    return succeeded(
        before or Record(), at, chance, certificate_id="a.b", ca="https://ca.test/", not_before=at, not_after=at + life
    )


def test_nothing_is_there_so_it_is_ordered() -> None:
    assert decide(Record(), NOW).action == "order"


@pytest.mark.parametrize(
    ("life", "chance", "share"),
    [
        (90 * DAY, 0.5, 2 / 3),
        (47 * DAY, 0.5, 2 / 3),
        (160 * HOUR, 0.5, 1 / 2),
        (20.0, 0.5, 1 / 2),
        (90 * DAY, 0.0, 2 / 3 - 1 / 40),
        (90 * DAY, 1.0, 2 / 3 + 1 / 40),
    ],
)
def test_the_usual_time(life: float, chance: float, share: float) -> None:
    assert usual_time(NOW, NOW + life, chance) == pytest.approx(NOW + life * share)
    record = issued(life=life, chance=chance)
    assert decide(record, NOW + life * share - life / 1000).action == "wait"
    assert decide(record, NOW + life * share + life / 1000).action == "order"


@pytest.mark.parametrize(
    ("window", "chance", "renew_at"),
    [
        ((30 * DAY, 32 * DAY), 0.0, 30 * DAY),
        ((30 * DAY, 32 * DAY), 0.5, 31 * DAY),
        ((89 * DAY, 90 * DAY), 0.5, 85.5 * DAY),  # never later than a twentieth of the life before the end
        ((-2 * DAY, -DAY), 0.5, -1.5 * DAY),  # revoked
    ],
)
def test_the_window_of_the_ca(window: tuple[float, float], chance: float, renew_at: float) -> None:
    found = Window(certificate_id="a.b", start=NOW + window[0], end=NOW + window[1])
    record = with_window(issued(), NOW, chance, found)
    assert record.renew_at == pytest.approx(NOW + renew_at)


def test_a_window_of_another_certificate_means_nothing() -> None:
    past = Window(certificate_id="of.another", start=NOW - DAY, end=NOW - HOUR)
    record = issued()
    assert with_window(record, NOW, 0.5, past).renew_at == record.renew_at
    # One that was read before a renewal does not outlive it.
    revoked = with_window(record, NOW, 0.5, replace(past, certificate_id="a.b"))
    assert decide(revoked, NOW + HOUR).action == "order"
    renewed = succeeded(
        revoked, NOW + HOUR, 0.5, certificate_id="c.d", ca="https://ca.test/", not_before=NOW, not_after=NOW + 90 * DAY
    )
    assert renewed.window is None
    assert decide(renewed, NOW + 2 * HOUR).action == "wait"
    assert with_window(renewed, NOW, 0.5, revoked.window).window is None


@pytest.mark.parametrize(
    ("retry_after", "life", "pause"),
    [
        (None, 90 * DAY, 6 * HOUR),
        (2 * HOUR, 90 * DAY, 2 * HOUR),
        (0.0, 90 * DAY, MINUTE),
        (30 * DAY, 90 * DAY, DAY),
        (6 * HOUR, 20.0, 1.0),
    ],
)
def test_when_to_ask_again(retry_after: float | None, life: float, pause: float) -> None:
    record = issued(life=life)
    assert wants_window(record, NOW)
    asked = with_window(record, NOW, 0.5, None, retry_after)
    assert not wants_window(asked, NOW + pause * 0.99)
    assert wants_window(asked, NOW + pause)
    assert not wants_window(Record(), NOW)


def lived(*ago: float, life: float = 90 * DAY, **also: Any) -> Record:
    """A certificate that is due, after others of that age."""
    return Record(
        certificate_id="a.b",
        not_before=NOW - life,
        not_after=NOW,
        issued=tuple(NOW - each for each in ago),
        renew_at=NOW,
        **also,
    )


ASKED_FOR = Window(certificate_id="a.b", start=NOW, end=NOW + 1)
ORDER, FOUR = Decision("order"), "4 validations failed within an hour"

DECISIONS: dict[str, tuple[Record, Decision]] = {
    "its moment has come": (Record(renew_at=NOW), ORDER),
    "its moment has not come": (Record(renew_at=NOW + 1), Decision("wait", NOW + 1)),
    "the pause is over": (Record(again_at=NOW), ORDER),
    "a pause": (Record(again_at=NOW + 31 * DAY - 1), Decision("wait", NOW + 31 * DAY - 1)),
    "a pause that no CA asks for": (Record(again_at=NOW + 31 * DAY), ORDER),
    "three failed validations": (Record(failed_validations=(NOW,) * 3), ORDER),
    "four failed validations": (
        Record(failed_validations=(NOW, NOW - 9, NOW, NOW - 3599)), Decision("blocked", NOW + 1, FOUR)),
    "the first is an hour ago": (Record(failed_validations=(NOW - 3600, NOW, NOW, NOW)), ORDER),
    "one is in the future": (Record(failed_validations=(NOW + 1, NOW, NOW, NOW)), ORDER),
    "issued just now": (lived(0), Decision("blocked", NOW + 600, "a certificate was issued a moment ago")),
    "issued in the future": (lived(-1), ORDER),
    "issued ten minutes ago": (lived(600), ORDER),
    "the last of several is what counts": (
        lived(1000, 599, 700), Decision("blocked", NOW + 1, "a certificate was issued a moment ago")),
    "issued a quarter of its life ago": (lived(10, life=40.0), ORDER),
    "issued less than a quarter of its life ago": (
        lived(9, life=40.0), Decision("blocked", NOW + 1, "a certificate was issued a moment ago")),
    "what was issued is lost": (
        Record(issued=(NOW,)), Decision("blocked", NOW + 600, "a certificate was issued a moment ago")),
    "four in a week that are lost": (
        Record(issued=(NOW - DAY,) * 4),
        Decision("blocked", NOW + 6 * DAY, "4 certificates were issued within 7 days")),
    "three in a week": (lived(*[DAY] * 3), ORDER),
    "four in a week": (
        lived(DAY, 7 * DAY - 1, DAY, DAY), Decision("blocked", NOW + 1, "4 certificates were issued within 7 days")),
    "five in a week": (
        lived(DAY, 6 * DAY, 7 * DAY - 1, DAY, DAY),
        Decision("blocked", NOW + DAY, "5 certificates were issued within 7 days")),
    "the first of four is a week ago": (lived(DAY, DAY, DAY, 7 * DAY), ORDER),
    "four in one and a half lives": (
        lived(*[HOUR] * 4, life=2 * HOUR),
        Decision("blocked", NOW + 2 * HOUR, "4 certificates were issued within 3 hours")),
    "four in seconds": (
        lived(*[12] * 4, life=20.0), Decision("blocked", NOW + 18, "4 certificates were issued within 30 s")),
    "four, and the CA asks": (lived(*[DAY] * 4, window=ASKED_FOR), ORDER),
    "four, and the CA asks from tomorrow": (
        lived(*[DAY] * 4, window=replace(ASKED_FOR, start=NOW + 1)),
        Decision("blocked", NOW + 6 * DAY, "4 certificates were issued within 7 days")),
    "four, and the CA asks for another": (
        lived(*[DAY] * 4, window=replace(ASKED_FOR, certificate_id="c.d")),
        Decision("blocked", NOW + 6 * DAY, "4 certificates were issued within 7 days")),
}  # fmt: skip


@pytest.mark.parametrize(("record", "decision"), DECISIONS.values(), ids=DECISIONS)
def test_each_limit_holds_from_its_first_moment_to_its_last(record: Record, decision: Decision) -> None:
    assert decide(record, NOW) == decision


@pytest.mark.parametrize(
    ("seconds", "words"), [(2 * DAY, "2 days"), (2 * DAY - 1, "48 hours"), (2 * HOUR, "2 hours"), (7199, "7199 s")]
)
def test_a_span_of_time_in_words(seconds: float, words: str) -> None:
    record = lived(*[seconds / 1.6] * 4, life=seconds / 1.5)
    assert decide(record, NOW).why == f"4 certificates were issued within {words}"


@pytest.mark.parametrize(
    ("again_at", "not_after", "wanted"),
    [
        (NOW, NOW + 1, True),
        (NOW + 1, NOW + 1, False),
        (NOW + DAY, NOW + 1, False),
        (NOW + DAY + 1, NOW + 1, True),  # nothing is put off for so long: the clock was set back
        (NOW, NOW, False),
        (NOW, None, False),
    ],
)
def test_whom_the_ca_is_asked_about(again_at: float, not_after: float | None, wanted: bool) -> None:
    record = Record(certificate_id="a.b", not_after=not_after, window_again_at=again_at)
    assert wants_window(record, NOW) is wanted
    assert not wants_window(replace(record, certificate_id=None), NOW)


def test_no_list_of_moments_grows_for_ever() -> None:
    many = Record(issued=(NOW,) * 150, failed_validations=(NOW,) * 150)
    assert len(issued(before=many).issued) == 101
    assert len(failed(many, NOW, 0.5, kind="dns-record", reason="").failed_validations) == 101


FAILURES = [60.0, 600.0, 1800.0, 3600.0, 7200.0, 14400.0, 21600.0, 21600.0]


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_the_pauses_grow(chance: float) -> None:
    record, now = Record(), NOW
    for usual in FAILURES:
        record = failed(record, now, chance, kind="unreachable", reason="down")
        pause = record.again_at - now
        assert usual * 0.8 <= pause <= usual * 1.2
        assert decide(record, record.again_at - 1).action == "wait"
        now = record.again_at
        assert decide(record, now).action == "order"


def test_a_ca_that_always_says_at_once_is_not_asked_without_end() -> None:
    record, now = Record(), NOW
    for _ in range(20):
        record = failed(record, now, 0.5, kind="unavailable", reason="", retry_after=1.0)
        now = record.again_at
    assert now - NOW > 2 * DAY


@pytest.mark.parametrize(
    ("kind", "retry_after", "life", "pause"),
    [
        ("rate-limited", 7200.0, None, 7200.0),
        ("rate-limited", 0.0, None, 1.0),
        ("unavailable", 30 * DAY, 90 * DAY, 30 * DAY),  # the CA's word wins over all
        ("caa", None, None, 6 * HOUR),
        ("rejected", None, None, 6 * HOUR),
        ("profile", None, None, 6 * HOUR),
        ("account-refused", None, None, 6 * HOUR),
        ("unreachable", None, 20.0, 1.0),  # never longer than a twentieth of the life
        ("caa", None, 20 * HOUR, HOUR),
    ],
)
def test_the_pause_by_kind(kind: str, retry_after: float | None, life: float | None, pause: float) -> None:
    record = Record() if life is None else issued(life=life)
    after = failed(record, NOW, 0.5, kind=kind, reason="", retry_after=retry_after)
    assert after.again_at - NOW == pytest.approx(pause)


@pytest.mark.parametrize(
    ("kind", "turn", "validations"),
    [
        ("challenge-failed", 1, (NOW - 3599, NOW)),
        ("dns-record", 1, (NOW - 3599, NOW)),
        ("no-challenge", 1, (NOW - 3599,)),
        ("unreachable", 0, (NOW - 3599,)),
    ],
)
def test_what_a_failure_leaves(kind: str, turn: int, validations: tuple[float, ...]) -> None:
    before = Record(unfinished=2, failures=4, failed_validations=(NOW - 3600, NOW - 3599, NOW + 1))
    after = failed(before, NOW, 0.5, kind=kind, reason="why")
    assert (after.failures, after.unfinished, after.turn, after.reason) == (5, 0, turn, "why")
    assert after.failed_validations == validations


def test_what_a_success_leaves() -> None:
    before = Record(failures=3, turn=5, unfinished=1, again_at=NOW, issued=(NOW - 7 * DAY, NOW - DAY), reason="down")
    assert issued(before=before) == Record(
        certificate_id="a.b",
        ca="https://ca.test/",
        not_before=NOW,
        not_after=NOW + 90 * DAY,
        renew_at=NOW + 60 * DAY,
        turn=5,
        issued=(NOW - DAY, NOW),
    )


def test_a_certificate_that_was_copied_there_is_renewed_in_its_time() -> None:
    found = about(Record(failures=1), NOW, NOW + 90 * DAY)
    life = {"not_before": NOW, "not_after": NOW + 90 * DAY, "renew_at": NOW + 60 * DAY}
    assert found == Record(failures=1, issued=(NOW,), **life)  # type: ignore[arg-type]
    assert about(found, NOW, NOW + 90 * DAY) is found
    window = Window(certificate_id="a.b", start=NOW, end=NOW)
    known = replace(found, certificate_id="a.b", ca="https://ca.test/", window=window, issued=(NOW - 1,))
    assert about(known, NOW, NOW + DAY) == Record(
        failures=1, issued=(NOW - 1,), not_before=NOW, not_after=NOW + DAY, renew_at=NOW + DAY / 2
    )
    assert about(known, None, None) == Record(failures=1, issued=(NOW - 1,))


def test_other_settings_make_a_failure_forgotten() -> None:
    before = failed(Record(), NOW, 0.5, kind="challenge-failed", reason="why", settings="a")
    assert before.settings == "a"
    assert forgiven(before, "a") is before
    after = replace(before, failures=0, turn=0, again_at=0.0, settings="b")
    assert forgiven(before, "b") == after
    assert forgiven(after, "c") is after


def test_a_stop_is_no_failure_and_what_could_not_be_finished_waits() -> None:
    begin = begun(Record(), NOW, 0.5)
    assert begin == Record(unfinished=1)
    third = begun(begun(begin, NOW, 0.5), NOW, 0.5)
    assert third == Record(unfinished=3, again_at=NOW + 10 * MINUTE)
    assert begun(third, NOW, 0.5) == Record(unfinished=4, again_at=NOW + 30 * MINUTE)
    assert stopped(third) == Record(unfinished=2)
    assert stopped(Record()) == Record()
    waiting = put_off(third, NOW, 0.5, reason="the disk is full")
    assert waiting == Record(unfinished=3, again_at=NOW + 30 * MINUTE, reason="the disk is full")
    short = begun(begun(begun(issued(life=20.0), NOW, 0.5), NOW, 0.5), NOW, 0.5)
    assert short.again_at == NOW + 1
    assert put_off(short, NOW, 0.5, reason="").again_at == NOW + 1


@pytest.mark.parametrize(
    ("failures", "chance", "life", "pause"),
    [
        (0, 0.5, None, 60.0),
        (1, 0.0, None, 48.0),
        (2, 1.0, None, 720.0),
        (7, 0.5, None, 21_600.0),
        (99, 0.5, None, 21_600.0),
        (2, 0.5, 6000.0, 300.0),
        (2, 0.5, 10.0, 1.0),
    ],
)
def test_pauses(failures: int, chance: float, life: float | None, pause: float) -> None:
    assert pause_after(failures, life, chance) == pytest.approx(pause)


def test_never_five_failed_validations_in_an_hour() -> None:
    """Whatever pauses there are: a short life makes them short."""
    record, now, times = issued(life=20.0), NOW + 15, []
    end = now + 2 * HOUR
    while now < end:
        decision = decide(record, now)
        if decision.action == "order":
            record = failed(record, now, 0.5, kind="challenge-failed", reason="")
            times.append(now)
            now += 0.5
        else:
            assert decision.until > now
            now = decision.until
    assert len(times) > 4
    for at in times:
        assert sum(at <= other < at + HOUR for other in times) <= 4


def test_another_challenge_next_and_another_ca_after_three_failures() -> None:
    record, types, seen = Record(), ("http-01", "tls-alpn-01"), []
    for _ in range(7):
        seen.append(choice(record, 2, types))
        record = failed(record, NOW, 0.5, kind="challenge-failed", reason="")
    assert [challenge for _, challenge in seen] == ["http-01", "tls-alpn-01"] * 3 + ["http-01"]
    assert [ca for ca, _ in seen] == [0, 0, 0, 1, 1, 1, 0]
    # What failed for another reason is tried by the same challenge again; what succeeded is not left.
    assert choice(failed(Record(), NOW, 0.5, kind="unreachable", reason=""), 2, types) == (0, "http-01")
    assert choice(issued(before=record), 2, types)[0] == 0


def loop_of_orders(life: float, seconds: float, *, asked_for: bool) -> list[float]:
    """When certificates are issued while something makes each of them due at once."""
    record, now, times = Record(), NOW, []
    while now < NOW + seconds:
        decision = decide(record, now)
        if decision.action == "order":
            times.append(now)
            record = issued(life=life, at=now, before=record)
            if asked_for:
                record = with_window(record, now, 0.0, Window(certificate_id="a.b", start=now - 2, end=now - 1))
            record = replace(record, renew_at=now)
        else:
            now = decision.until
    return times


@pytest.mark.parametrize(("asked_for", "most"), [(False, 4), (True, 12)])
@pytest.mark.parametrize("life", [90 * DAY, 160 * HOUR])
def test_no_loop_of_orders_that_succeed(life: float, asked_for: bool, most: int) -> None:
    times = loop_of_orders(life, 30 * DAY, asked_for=asked_for)
    assert min(later - earlier for earlier, later in itertools.pairwise(times)) >= 10 * MINUTE
    for at in times:
        assert sum(at <= other < at + 7 * DAY for other in times) <= most


def test_a_short_life_is_renewed_at_its_half_without_a_break() -> None:
    record, now, renewals = Record(), NOW, 0
    while now < NOW + 60:
        decision = decide(record, now)
        assert decision.action != "blocked"
        if decision.action == "order":
            record, renewals = issued(life=20.0, at=now, before=record), renewals + 1
        else:
            now = decision.until
    assert 5 <= renewals <= 8


def test_a_process_that_dies_in_its_orders_is_followed_at_once_three_times_and_then_with_pauses() -> None:
    record, now, begins = Record(), NOW, []
    for _ in range(6):
        while decide(record, now).action != "order":
            now = decide(record, now).until
        begins.append(now)
        record = begun(record, now, 0.5)
    assert begins[:3] == [NOW, NOW, NOW]
    assert begins[3] - begins[2] >= 5 * MINUTE
    assert failed(record, now, 0.5, kind="unreachable", reason="").unfinished == 0


@pytest.mark.parametrize("jump", [-365 * DAY, 365 * DAY])
def test_a_clock_that_was_wrong_blocks_nothing_for_ever(jump: float) -> None:
    record = failed(Record(), NOW + jump, 0.5, kind="unreachable", reason="")
    record = replace(record, failed_validations=(NOW + jump,) * 9, issued=(NOW + jump,) * 9)
    assert decide(record, NOW).action == "order"


def test_what_is_stored_is_read_again() -> None:
    record = with_window(
        failed(issued(), NOW, 0.5, kind="challenge-failed", reason="é"),
        NOW,
        0.5,
        Window(certificate_id="a.b", start=NOW, end=NOW + 1),
    )
    assert from_json(to_json(record)) == record
    assert from_json(to_json(Record())) == Record()
    assert from_json(None) == Record()


def test_what_is_stored_is_text_that_a_person_can_read() -> None:
    assert to_json(Record(reason="é")).startswith(b'{\n "certificate_id": null,\n')


LAST_SECOND = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        ({"reason": "x" * 1001}, {"reason": "x" * 1000}),
        ({"settings": "x" * 101}, {"settings": "x" * 100}),
        ({"ca": "x" * 1001}, {"ca": "x" * 1000}),
        ({"certificate_id": 5}, {"certificate_id": "5"}),
        ({"failures": 1_000_000, "turn": 0}, {"failures": 1_000_000}),
        ({"turn": 3, "unfinished": 2}, {"turn": 3, "unfinished": 2}),
        ({"again_at": LAST_SECOND, "renew_at": 0.0}, {"again_at": LAST_SECOND, "renew_at": 0.0}),
        ({"issued": [*range(101)]}, {"issued": tuple(map(float, range(1, 101)))}),
        ({"failed_validations": [*range(101)]}, {"failed_validations": tuple(map(float, range(1, 101)))}),
        ({"failures": 1_000_001}, {}),
        ({"turn": -1, "reason": "x"}, {}),
        ({"again_at": LAST_SECOND + 1, "reason": "x"}, {}),
        ({"renew_at": -1.0, "reason": "x"}, {}),
        ({"issued": [float("inf")], "reason": "x"}, {}),
        ({"window": {"certificate_id": "a.b"}, "reason": "x"}, {}),
    ],
)
def test_what_is_stored_has_limits(stored: dict[str, object], read: dict[str, Any]) -> None:
    whole = json.loads(to_json(Record()))
    assert from_json(json.dumps(whole | stored).encode()) == Record(**read)


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[]", b"null", b"\xff", b"[" * 100_000, to_json(Record()).replace(b"0.0", b"NaN"),
     to_json(Record()).replace(b'"failures": 0', b'"failures": -1')],
)  # fmt: skip
def test_what_nobody_of_us_has_stored_is_nothing(data: bytes) -> None:
    assert from_json(data) == Record()


@example(1, 217.0, 0.0)
@given(st.integers(1, 100), st.none() | st.floats(1, 1e9), st.floats(0, 1))
def test_a_pause_is_never_over_six_hours_or_a_twentieth_of_the_life(
    failures: int, life: float | None, chance: float
) -> None:
    pause = pause_after(failures, life, chance)
    rounding = 1 + 1e-12
    assert 1.0 <= pause <= 6 * HOUR * 1.2 * rounding
    assert life is None or pause <= max(life / 20, 1.0) * rounding
