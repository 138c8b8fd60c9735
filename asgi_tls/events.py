"""What happens to a TLS server, as data. Whoever wants to know is a listener; the core knows none of them.

A listener is any callable that takes one event: a function, a bound method, or an object with `__call__`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import ClassVar, Literal, Protocol, runtime_checkable

logger = logging.getLogger("asgi_tls")


def _now() -> datetime:
    return datetime.now(UTC)


Severity = Literal["warning", "error", "critical"]


@dataclass(frozen=True, kw_only=True)
class Event:
    """Anything that happened. `event` is its name in logs, `ts` when it happened (aware, UTC)."""

    event: ClassVar[str]
    ts: datetime = field(default_factory=_now)


@dataclass(frozen=True, kw_only=True)
class SessionEvent(Event):
    """A handshake succeeded. `ip` and `port` are the peer's, None over a unix socket; `duration_ms` milliseconds."""

    event: ClassVar[str] = "tls_session"
    ip: str | None
    port: int | None
    protocol: str
    cipher: str
    group: str | None
    alpn: str | None
    sni: str | None
    resumed: bool
    duration_ms: float


@dataclass(frozen=True, kw_only=True)
class ClientErrorEvent(Event):
    """A handshake failed. `code` is OpenSSL's reason, `alert` what was sent to the peer, None where nothing was."""

    event: ClassVar[str] = "tls_client_error"
    ip: str | None
    port: int | None
    code: str
    msg: str
    alert: str | None
    sni: str | None


@dataclass(frozen=True, kw_only=True)
class CertificateLoadedEvent(Event):
    """A certificate is served from now on."""

    event: ClassVar[str] = "tls_certificate_loaded"
    source: str
    subject_alt_names: tuple[str, ...]
    not_after: datetime
    fingerprint_sha256: str


@dataclass(frozen=True, kw_only=True)
class ReloadFailedEvent(Event):
    """What is on disk cannot be served, and what was served before still is. `code` is that of the error."""

    event: ClassVar[str] = "tls_reload_failed"
    source: str
    code: str
    msg: str


@dataclass(frozen=True, kw_only=True)
class CertificateExpiringEvent(Event):
    """A third of a certificate's lifetime is left, or less. `days_left` is negative once it is over.

    `severity` grows: "warning" from a third on, "error" from a tenth on, "critical" when it has expired.
    """

    event: ClassVar[str] = "tls_certificate_expiring"
    source: str
    not_after: datetime
    days_left: float
    severity: Severity


@runtime_checkable
class Listener(Protocol):
    """Takes an event, quickly: it is called in the server's event loop."""

    def __call__(self, event: Event, /) -> None:
        """React to it. What is raised here is logged, and goes no further."""


def notify(listeners: Iterable[Listener], event: Event) -> None:
    """Hand an event to each listener. One that raises is logged, and neither breaks a handshake nor the others."""
    for listener in listeners:
        try:
            listener(event)
        except Exception:
            logger.exception("the listener %r failed on %s", listener, event.event)
