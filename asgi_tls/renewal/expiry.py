"""When to report that a certificate or CRL expires: by the share of its lifetime that is left, of 90 days or 160 hours.

Renewal is due when a third is left (Let's Encrypt's integration guide, and RFC 9773 where there is ARI). Where it
happens in time, there is no event.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from asgi_tls.certificate import Certificate
from asgi_tls.certificate.trust import RevocationList
from asgi_tls.events import CertificateExpiringEvent, CRLExpiringEvent, Severity

Expiring: TypeAlias = CertificateExpiringEvent | CRLExpiringEvent

_HOUR: Final = timedelta(hours=1)
_PAUSE: Final = timedelta(minutes=1)
_FETCH: Final = "Fetch the current CRL from the CA, and repeat this regularly."


@dataclass(frozen=True)
class _Stage:
    """From this share of the lifetime on: how severe, and how often it is repeated."""

    share_left: float
    severity: Severity
    again: timedelta


# For 90 days: 30 days, 9 days and the end. For 47: 15.7, 4.7. For 160 hours: 53 hours, 16 hours.
_STAGES: Final = (
    _Stage(0.0, "critical", _HOUR),
    _Stage(1 / 10, "error", 6 * _HOUR),
    _Stage(1 / 3, "warning", 24 * _HOUR),
)


class ExpiryWatch:
    """Reports each stage once when it begins, and again at its own pace."""

    def __init__(self) -> None:
        self._reported: dict[str | RevocationList, tuple[_Stage, datetime]] = {}
        self._seen: Mapping[str, Sequence[Certificate]] = {}
        self._looked: datetime | None = None

    def due(
        self, certificates: Mapping[str, Sequence[Certificate]], now: datetime, lists: Sequence[RevocationList] = ()
    ) -> list[Expiring]:
        """The events to send at `now` (aware) about the certificates that are served, by host name, and about `lists`.

        The same mapping is looked at once a minute: it may hold thousands.
        """
        if certificates is self._seen and self._looked is not None and timedelta() <= now - self._looked < _PAUSE:
            return []
        self._seen, self._looked = certificates, now
        events: list[Expiring] = []
        reported: dict[str | RevocationList, tuple[_Stage, datetime]] = {}
        everything: Iterable[Certificate | RevocationList] = itertools.chain(lists, *certificates.values())
        for one in everything:
            key = one if isinstance(one, RevocationList) else one.fingerprint_sha256
            if key in reported or (stage := stage_at(one.lifetime_left(now))) is None:
                continue
            before = self._reported.get(key)
            if before is None or before[0] is not stage or now - before[1] >= stage.again:
                events.append(_event(one, stage, now))
                before = stage, now
            reported[key] = before
        self._reported = reported  # what is no longer served is forgotten
        return events


def stage_at(left: float) -> _Stage | None:
    """The stage by the share of the lifetime that is left; None while that is more than a third."""
    return next((stage for stage in _STAGES if left <= stage.share_left), None)


def _event(one: Certificate | RevocationList, stage: _Stage, now: datetime) -> Expiring:
    if isinstance(one, RevocationList):
        return _of_list(one, stage, now)
    days = _days_left(one.not_after, now)
    return CertificateExpiringEvent(source=one.source, not_after=one.not_after, days_left=days, severity=stage.severity)


def _of_list(one: RevocationList, stage: _Stage, now: datetime) -> CRLExpiringEvent:
    end, days = one.next_update, _days_left(one.next_update, now)
    if now < end:
        what = f"expires on {end:%Y-%m-%d %H:%M UTC}, in {days} days; then every client of this CA is refused"
    else:
        what = f"expired on {end:%Y-%m-%d %H:%M UTC}: every client of this CA is refused"
    return CRLExpiringEvent(
        source=one.source,
        issuer=one.issuer,
        next_update=end,
        days_left=days,
        severity=stage.severity,
        msg=f"{one.source}: the CRL of {one.issuer} {what}. {_FETCH}",
    )


def _days_left(end: datetime, now: datetime) -> float:
    return round((end - now) / timedelta(days=1), 2) + 0.0  # without a minus before zero
