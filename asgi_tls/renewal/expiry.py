"""When to report that a certificate expires: by the share of its lifetime that is left, of 90 days or 160 hours.

Renewal is due when a third is left (Let's Encrypt's integration guide, and RFC 9773 where there is ARI). Where it
happens in time, there is no event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from asgi_tls.certificate import Certificate
from asgi_tls.events import CertificateExpiringEvent, Severity

_HOUR: Final = timedelta(hours=1)
_PAUSE: Final = timedelta(minutes=1)


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
        self._reported: dict[str, tuple[_Stage, datetime]] = {}
        self._seen: Mapping[str, Sequence[Certificate]] = {}
        self._looked: datetime | None = None

    def due(self, certificates: Mapping[str, Sequence[Certificate]], now: datetime) -> list[CertificateExpiringEvent]:
        """The events to send at `now` (aware) about the certificates that are served, by host name.

        The same mapping is looked at once a minute: it may hold thousands.
        """
        if certificates is self._seen and self._looked is not None and timedelta() <= now - self._looked < _PAUSE:
            return []
        self._seen, self._looked = certificates, now
        events: list[CertificateExpiringEvent] = []
        reported: dict[str, tuple[_Stage, datetime]] = {}
        for certificate in (one for group in certificates.values() for one in group):
            key = certificate.fingerprint_sha256
            if key in reported or (stage := stage_of(certificate, now)) is None:
                continue
            before = self._reported.get(key)
            if before is None or before[0] is not stage or now - before[1] >= stage.again:
                events.append(_event(certificate, stage, now))
                before = stage, now
            reported[key] = before
        self._reported = reported  # what is no longer served is forgotten
        return events


def stage_of(certificate: Certificate, now: datetime) -> _Stage | None:
    """None while more than a third is left."""
    return stage_at(certificate.lifetime_left(now))


def stage_at(left: float) -> _Stage | None:
    """The stage by the share of the lifetime that is left; None while that is more than a third."""
    return next((stage for stage in _STAGES if left <= stage.share_left), None)


def _event(certificate: Certificate, stage: _Stage, now: datetime) -> CertificateExpiringEvent:
    return CertificateExpiringEvent(
        source=certificate.source,
        not_after=certificate.not_after,
        days_left=round((certificate.not_after - now) / timedelta(days=1), 2) + 0.0,  # without a minus before zero
        severity=stage.severity,
    )
