"""When to report that a certificate, a client CA or a CRL expires: by the share of its lifetime that is left.

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
from asgi_tls.certificate.trust import RevocationList, TrustAnchor
from asgi_tls.events import CertificateExpiringEvent, ClientCAExpiringEvent, CRLExpiringEvent, Severity

Expiring: TypeAlias = CertificateExpiringEvent | ClientCAExpiringEvent | CRLExpiringEvent
OfClients: TypeAlias = TrustAnchor | RevocationList

_HOUR: Final = timedelta(hours=1)
_PAUSE: Final = timedelta(minutes=1)
_FETCH: Final = "Fetch the current CRL from the CA, and repeat this regularly."
_APPEND: Final = "Append the CA's new certificate to the file, and remove this one when no client needs it any more."


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
        self._reported: dict[str | OfClients, tuple[_Stage, datetime]] = {}
        self._seen: Mapping[str, Sequence[Certificate]] = {}
        self._looked: datetime | None = None

    def due(
        self, certificates: Mapping[str, Sequence[Certificate]], now: datetime, of_clients: Sequence[OfClients] = ()
    ) -> list[Expiring]:
        """The events to send at `now` (aware) about the certificates that are served, by host name, and about those by
        which clients are accepted.

        The same mapping is looked at once a minute: it may hold thousands.
        """
        if certificates is self._seen and self._looked is not None and timedelta() <= now - self._looked < _PAUSE:
            return []
        self._seen, self._looked = certificates, now
        events: list[Expiring] = []
        reported: dict[str | OfClients, tuple[_Stage, datetime]] = {}
        everything: Iterable[Certificate | OfClients] = itertools.chain(of_clients, *certificates.values())
        for one in everything:
            key = one.fingerprint_sha256 if isinstance(one, Certificate) else one
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


def _event(one: Certificate | OfClients, stage: _Stage, now: datetime) -> Expiring:
    if isinstance(one, RevocationList):
        return _of_list(one, stage, now)
    if isinstance(one, TrustAnchor):
        return _of_anchor(one, stage, now)
    days = _days_left(one.not_after, now)
    return CertificateExpiringEvent(source=one.source, not_after=one.not_after, days_left=days, severity=stage.severity)


def _of_list(one: RevocationList, stage: _Stage, now: datetime) -> CRLExpiringEvent:
    return CRLExpiringEvent(
        source=one.source,
        issuer=one.issuer,
        next_update=one.next_update,
        days_left=_days_left(one.next_update, now),
        severity=stage.severity,
        msg=f"{one.source}: the CRL of {one.issuer} {_end_of_clients(one.next_update, now)}. {_FETCH}",
    )


def _of_anchor(one: TrustAnchor, stage: _Stage, now: datetime) -> ClientCAExpiringEvent:
    return ClientCAExpiringEvent(
        source=one.source,
        subject=one.subject,
        not_after=one.not_after,
        days_left=_days_left(one.not_after, now),
        severity=stage.severity,
        msg=f"{one.source}: the CA {one.subject} {_end_of_clients(one.not_after, now)}. {_APPEND}",
    )


def _end_of_clients(end: datetime, now: datetime) -> str:
    moment = f"{end:%Y-%m-%d %H:%M UTC}"
    if now < end:
        return f"expires on {moment}, {_soon(end - now)}; then every client of this CA is refused"
    return f"expired on {moment}: every client of this CA is refused"


def _soon(left: timedelta) -> str:
    """In the unit that a reader can act by."""
    hours = left / _HOUR
    if hours < 2:
        return f"in {left / timedelta(minutes=1):.0f} minutes"
    return f"in {hours:.0f} hours" if hours < 72 else f"in {hours / 24:.1f} days"


def _days_left(end: datetime, now: datetime) -> float:
    return round((end - now) / timedelta(days=1), 2) + 0.0  # without a minus before zero
