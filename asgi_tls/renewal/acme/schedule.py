"""When to order a certificate, from which CA and by which challenge: pure functions on what is stored about it.

Times are seconds since 1970. `chance` is a random number from 0 to 1, which spreads a fleet's orders over time.

The limits protect an account from its own server: an order needs a reason, a pause behind the last failure, and room
below the CA's limits (Let's Encrypt: five failed validations an hour, five certificates for the same names in a week).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal, TypeVar

from asgi_tls.files import DAMAGED

T = TypeVar("T")

MINUTE: Final = 60.0
HOUR: Final = 3600.0
DAY: Final = 86_400.0

_BACK_OFF: Final = (MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR, 6 * HOUR)
_JITTER: Final = 0.2
_SHORT_LIFE: Final = 10 * DAY
_LATEST: Final = 1 / 20
"""Of the lifetime: renewal is never planned for less than that before the end, and no pause is longer."""

_MOST_FAILED_VALIDATIONS: Final = 4  # in an hour, where CAs allow five
_BREAK: Final = 10 * MINUTE
_MOST_ORDERS: Final = 4
_LAST_SECOND: Final = 253_402_300_799  # of the year 9999, the last one of datetime
_MOST_ASKED_FOR: Final = 12  # of those that the CA itself asks for, should it ask without end
_WEEK: Final = 7 * DAY
_FAILURES_PER_CA: Final = 3
_UNFINISHED: Final = 3
_FURTHEST: Final = (
    31 * DAY
)  # Retry-After is limited to 30 days: what is further ahead comes from a clock that was wrong
_ARI_LEAST: Final = MINUTE
_ARI_MOST: Final = DAY
_ARI_USUAL: Final = 6 * HOUR  # RFC 9773 section 4.3 without Retry-After

# What a CA will refuse again until somebody changes something, and what says that a validation has failed.
_STUBBORN: Final = frozenset({"account-refused", "rejected", "caa", "profile"})
_VALIDATION: Final = frozenset({"challenge-failed", "dns-record"})
_OTHER_CHALLENGE: Final = frozenset({"challenge-failed", "no-challenge", "dns-record"})


@dataclass(frozen=True, kw_only=True)
class Window:
    """When the CA wants a certificate to be replaced (RFC 9773). It belongs to that certificate and to no other."""

    certificate_id: str
    start: float
    end: float


@dataclass(frozen=True, kw_only=True)
class Record:
    """What is stored about the certificate for one set of names.

    `renew_at` is the moment that was chosen for the certificate that is served, None before there is one. Nothing is
    tried before `again_at`. `issued` and `failed_validations` are times of recent orders. `unfinished` counts orders
    whose process ended in between. `settings` is a fingerprint of those that the last order failed with.
    """

    certificate_id: str | None = None
    ca: str | None = None
    not_before: float | None = None
    not_after: float | None = None
    window: Window | None = None
    window_again_at: float = 0.0
    renew_at: float | None = None
    again_at: float = 0.0
    failures: int = 0
    turn: int = 0
    unfinished: int = 0
    issued: tuple[float, ...] = ()
    failed_validations: tuple[float, ...] = ()
    reason: str = ""
    settings: str = ""

    @property
    def lifetime(self) -> float | None:
        """Of the certificate, in seconds."""
        if self.not_before is None or self.not_after is None:
            return None
        return max(self.not_after - self.not_before, 1.0)


Action = Literal["order", "wait", "blocked"]


@dataclass(frozen=True)
class Decision:
    """`until` is when to look again, 0 for an order. `why` says what blocks an order that is due."""

    action: Action
    until: float = 0.0
    why: str = ""


def decide(record: Record, now: float) -> Decision:
    """Whether to order now."""
    due_at = 0.0 if record.renew_at is None else record.renew_at
    if now < due_at:
        return Decision("wait", due_at)
    if now < record.again_at < now + _FURTHEST:
        return Decision("wait", record.again_at)
    recent = [at for at in record.failed_validations if now - HOUR < at <= now]
    if len(recent) >= _MOST_FAILED_VALIDATIONS:
        return Decision("blocked", min(recent) + HOUR, f"{len(recent)} validations failed within an hour")
    return _breaker(record, now)


def _breaker(record: Record, now: float) -> Decision:
    """No loop of orders that succeed: whatever makes them, the CA's limit would leave the site without one."""
    if not record.issued:
        return Decision("order")
    lifetime = record.lifetime or _WEEK  # unknown where what was issued is lost
    last = max(record.issued)
    pause = min(_BREAK, lifetime / 4)
    if last <= now < last + pause:
        return Decision("blocked", last + pause, "a certificate was issued a moment ago")
    span = min(_WEEK, 1.5 * lifetime)
    recent = sorted(at for at in record.issued if now - span < at <= now)
    most = _MOST_ASKED_FOR if is_asked_for(record, now) else _MOST_ORDERS
    if len(recent) >= most:
        return Decision("blocked", recent[-most] + span, f"{len(recent)} certificates were issued within {_span(span)}")
    return Decision("order")


def is_asked_for(record: Record, now: float) -> bool:
    """Whether the CA asks for the replacement of this very certificate, now."""
    window = record.window
    return window is not None and window.certificate_id == record.certificate_id and window.start <= now


def begun(record: Record, now: float, chance: float) -> Record:
    """Stored before an order: an order that ends with its process is counted too."""
    unfinished = record.unfinished + 1
    again_at = 0.0
    if unfinished >= _UNFINISHED:
        again_at = now + pause_after(unfinished - _UNFINISHED + 2, record.lifetime, chance)
    return replace(record, unfinished=unfinished, again_at=again_at)


def succeeded(
    record: Record,
    now: float,
    chance: float,
    *,
    certificate_id: str | None,
    ca: str,
    not_before: float,
    not_after: float,
) -> Record:
    """A certificate was issued. Nothing of the previous one's window is kept."""
    return Record(
        certificate_id=certificate_id,
        ca=ca,
        not_before=not_before,
        not_after=not_after,
        renew_at=usual_time(not_before, not_after, chance),
        turn=record.turn,
        issued=(*_recent(record.issued, now, _WEEK), now),
    )


def failed(
    record: Record,
    now: float,
    chance: float,
    *,
    kind: str,
    reason: str,
    retry_after: float | None = None,
    settings: str = "",
) -> Record:
    """An order has failed. `retry_after` is the CA's word, in seconds, and wins; a short one for the first failures."""
    failures = record.failures + 1
    usual = pause_after(failures, record.lifetime, chance)
    if retry_after is not None:
        pause = max(retry_after, 1.0 if failures <= _FAILURES_PER_CA else usual)
    elif kind in _STUBBORN:
        pause = _limited(6 * HOUR, record.lifetime)
    else:
        pause = usual
    validations = _recent(record.failed_validations, now, HOUR)
    return replace(
        record,
        failures=failures,
        unfinished=0,
        again_at=now + pause,
        turn=record.turn + 1 if kind in _OTHER_CHALLENGE else record.turn,
        failed_validations=(*validations, now) if kind in _VALIDATION else validations,
        reason=reason,
        settings=settings,
    )


def forgiven(record: Record, settings: str) -> Record:
    """Somebody has changed the settings since the last order failed: that pause has no reason any more."""
    if not record.failures or record.settings == settings:
        return record
    return replace(record, failures=0, turn=0, again_at=0.0, settings=settings)


def about(record: Record, not_before: float | None, not_after: float | None) -> Record:
    """The record as one about the certificate that is stored, None where there is none: the file is what counts.

    It may be lost or damaged, or was copied there. A copy was issued about when it begins to be valid.
    """
    if (record.not_before, record.not_after) == (not_before, not_after):
        return record
    record = replace(record, certificate_id=None, ca=None, window=None, not_before=not_before, not_after=not_after)
    if not_before is None or not_after is None:
        return replace(record, renew_at=None)
    renew_at = usual_time(not_before, not_after, 0.5)
    return replace(record, renew_at=renew_at, issued=record.issued or (not_before,))


def stopped(record: Record) -> Record:
    """The server was stopped in an order: another one may begin at once."""
    return replace(record, unfinished=max(record.unfinished - 1, 0), again_at=0.0)


def put_off(record: Record, now: float, chance: float, *, reason: str) -> Record:
    """An order could not be finished, by no fault of the CA's or of the names."""
    return replace(record, again_at=now + pause_after(record.unfinished, record.lifetime, chance), reason=reason)


def with_window(
    record: Record, now: float, chance: float, window: Window | None, retry_after: float | None = None
) -> Record:
    """The CA has answered when it wants the certificate to be replaced; None where it does not say."""
    lifetime = record.lifetime
    pause = _ARI_USUAL if retry_after is None else min(max(retry_after, _ARI_LEAST), _ARI_MOST)
    if lifetime is not None:
        pause = min(pause, max(lifetime * _LATEST, 1.0))
    record = replace(record, window_again_at=now + pause)
    if window is None or record.not_before is None or record.not_after is None:
        return record
    if window.certificate_id != record.certificate_id or window == record.window:
        return record
    chosen = window.start + max(window.end - window.start, 0.0) * chance
    latest = record.not_after - (record.lifetime or 0.0) * _LATEST
    return replace(record, window=window, renew_at=min(chosen, latest))


def wants_window(record: Record, now: float) -> bool:
    """Whether to ask the CA about the certificate."""
    if record.certificate_id is None or record.not_after is None or now >= record.not_after:
        return False
    return not now < record.window_again_at <= now + _ARI_MOST


def usual_time(not_before: float, not_after: float, chance: float) -> float:
    """Without the CA's word: at two thirds of the life, at half of one under ten days, a little spread."""
    lifetime = max(not_after - not_before, 1.0)
    share = 1 / 2 if lifetime < _SHORT_LIFE else 2 / 3
    return not_before + lifetime * (share + (chance - 0.5) * _LATEST)


def pause_after(failures: int, lifetime: float | None, chance: float) -> float:
    """Seconds behind the failure of that number, the first being 1."""
    pause = _BACK_OFF[min(max(failures, 1), len(_BACK_OFF)) - 1]
    return _limited(pause * (1 + (chance - 0.5) * 2 * _JITTER), lifetime)


def choice(record: Record, cas: int, challenges: Sequence[T]) -> tuple[int, T]:
    """The number of the CA, the first being 0, and the type of challenge of the next order."""
    return (record.failures // _FAILURES_PER_CA) % cas, challenges[record.turn % len(challenges)]


def _limited(pause: float, lifetime: float | None) -> float:
    return pause if lifetime is None else min(pause, max(lifetime * _LATEST, 1.0))


def _recent(times: Sequence[float], now: float, span: float) -> tuple[float, ...]:
    return tuple(at for at in times if now - span < at <= now)[-100:]


def _span(seconds: float) -> str:
    return (
        f"{seconds / DAY:.0f} days"
        if seconds >= 2 * DAY
        else f"{seconds / HOUR:.0f} hours"
        if seconds >= 2 * HOUR
        else f"{seconds:.0f} s"
    )


def to_json(record: Record) -> bytes:
    """As it is stored."""
    return json.dumps(asdict(record), indent=1).encode("ascii")


def from_json(data: bytes | None) -> Record:
    """An empty record for anything that `to_json` did not write."""
    if data is None:
        return Record()
    try:
        values = json.loads(data)
        return _checked(values) if isinstance(values, Mapping) else Record()
    except DAMAGED:
        return Record()


def _checked(values: Mapping[str, Any]) -> Record:
    window = values["window"]
    return Record(
        certificate_id=_text(values["certificate_id"]),
        ca=_text(values["ca"]),
        not_before=_moment(values["not_before"]),
        not_after=_moment(values["not_after"]),
        window=None
        if window is None
        else Window(
            certificate_id=str(window["certificate_id"]), start=_number(window["start"]), end=_number(window["end"])
        ),
        window_again_at=_number(values["window_again_at"]),
        renew_at=_moment(values["renew_at"]),
        again_at=_number(values["again_at"]),
        failures=_count(values["failures"]),
        turn=_count(values["turn"]),
        unfinished=_count(values["unfinished"]),
        issued=tuple(map(_number, values["issued"]))[-100:],
        failed_validations=tuple(map(_number, values["failed_validations"]))[-100:],
        reason=str(values["reason"])[:1000],
        settings=str(values["settings"])[:100],
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)[:1000]


def _moment(value: Any) -> float | None:
    return None if value is None else _number(value)


def _number(value: Any) -> float:
    number = float(value)
    if not 0 <= number <= _LAST_SECOND:  # NaN is not either
        raise ValueError(value)
    return number


def _count(value: Any) -> int:
    number = int(value)
    if not 0 <= number <= 1_000_000:
        raise ValueError(value)
    return number
