"""What listeners hear of an order."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime

from asgi_tls.events import ACMEAction, ACMEEvent, Severity
from asgi_tls.renewal.acme.answers import RenewalInfo
from asgi_tls.renewal.acme.schedule import Record


def event_of(
    names: Sequence[str],
    record: Record,
    action: ACMEAction,
    directory: str,
    msg: str,
    *,
    code: str | None = None,
    challenge: str | None = None,
    again_at: datetime | None = None,
) -> ACMEEvent:
    """`record` is as it is after the action. A failure is critical while no valid certificate is served."""
    now = time.time()
    severity: Severity = "info"
    if action in {"failed", "blocked"}:
        is_served = record.not_after is not None and now < record.not_after
        severity = "warning" if action == "blocked" else "error" if is_served else "critical"
    if again_at is None and action == "failed" and record.again_at > now:
        again_at = datetime.fromtimestamp(record.again_at, UTC)
    return ACMEEvent(
        names=tuple(names),
        action=action,
        directory=directory,
        challenge=challenge,
        code=code,
        msg=msg if again_at is None else f"{msg} Next try: {again_at:%Y-%m-%d %H:%M:%S UTC}.",
        again_at=again_at,
        renew_at=None if record.renew_at is None else datetime.fromtimestamp(record.renew_at, UTC),
        severity=severity,
    )


def replacement(directory: str, renew_at: float | None, found: RenewalInfo | None) -> str:
    """The CA names the moment of a renewal, and a page about it, which operators are to see (RFC 9773 section 4.2)."""
    why = "" if found is None or found.explanation is None else f"; its reasons: {found.explanation}"
    return f"{directory} wants it to be replaced at {shown(renew_at)}{why}"


def not_stored(directory: str, error: OSError) -> str:
    """The certificate was issued, and the storage does not take it."""
    return (
        f"{directory} has issued, and the certificate cannot be stored: {error}; it is served from memory until the "
        "storage can be written again. Make room there, or mount it again, before the server is restarted."
    )


def shown(moment: float | None) -> str:
    """A moment in seconds since 1970, for people."""
    return "" if moment is None else f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S UTC}"
