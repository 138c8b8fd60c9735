"""What happens to a TLS server, as data. Logs, metrics and the guard are listeners; the core knows none of them.

A listener is any callable that takes one event: a function, a bound method, or an object with `__call__`. It is called
in a thread of its own, with one event of a handshake after the other, so it may take its time; only a `Gate` is called
in the event loop.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import ClassVar, Final, Literal, Protocol, runtime_checkable

logger = logging.getLogger("asgi_tls")


def _now() -> datetime:
    return datetime.now(UTC)


NOTICES: Final = {
    "development-certificate": "no certificate is set, so one of the local CA is served",
    "missing-groups": "this OpenSSL lacks groups of the profile",
    "unsupported": "this platform cannot enforce a part of the policy",
    "libssl": "without libssl there is no stapling, and no resumption at another worker",
    "event-loop": "this event loop accepts connections by itself, so events name no address",
    "open-file": "other users can read or write a key, a password or a ticket secret",
    "unused-password": "a password is set for a key that is not encrypted",
    "unreadable-file": "workers of another user cannot read a file, so they do not notice its renewal",
    "stale-mount": "a mounted file was replaced or deleted outside of its mount",
    "key-type": "browsers do not accept the type of the key",
    "self-signed": "each client has to be configured to trust the certificate",
    "no-intermediate": "the file contains no intermediate certificate",
    "staging": "the certificate is from Let's Encrypt's staging environment",
    "serial-number": "some clients refuse the serial number",
    "address-as-name": "an IP address is in the certificate as a DNS name",
    "unusable-name": "no client accepts the certificate for one of its names",
    "usage": "some clients refuse the certificate for its extensions",
    "extra-certificate": "the file contains a certificate that clients do not need",
    "odd-certificate": "OpenSSL serves the certificate, but it is not well-formed",
    "expired-client-ca": "a CA in the client CA bundle has expired",
    "acme-placeholder": "no certificate has been issued by ACME yet, so a self-signed one is served",
    "acme-expired": "the stored certificate of ACME is not valid now, and served until there is a new one",
}
"""The warnings of a server at its start, by code."""


class Notice(str):
    """The text of a warning at the start, and its code: one of NOTICES, for `--tls-quiet`."""

    code: str

    def __new__(cls, code: str, text: str) -> Notice:
        """Raises KeyError for a code that is not in NOTICES."""
        made = super().__new__(cls, text)
        made.code, _ = code, NOTICES[code]
        return made

    def __getnewargs__(self) -> tuple[str, str]:  # type: ignore[override]  # for `__new__`, which takes two
        return self.code, str(self)


Severity = Literal["info", "warning", "error", "critical"]

StaplingStatus = Literal["good", "revoked", "unknown", "expired", "refused", "invalid", "unreachable", "unavailable"]
"""The result of a request for an OCSP response. Only "good" is stapled. "revoked" and "unknown" are the CA's answers.
"expired": the response is too old. "refused": the responder answered with an error. "invalid": the response cannot be
verified. "unreachable": no answer. "unavailable": nothing can be requested."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """The base of all events. `event` is its name in logs, `ts` when it happened (aware, UTC)."""

    event: ClassVar[str]
    ts: datetime = field(default_factory=_now)


@dataclass(frozen=True, kw_only=True)
class SessionEvent(Event):
    """A handshake succeeded. `ip` and `port` are the peer's, None over a Unix socket."""

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
    """A handshake failed, or a connection failed later because of what the peer sent.

    `code` is OpenSSL's reason, or one of `HTTP_REQUEST` (plain HTTP on the TLS port), `STUN_REQUEST` (WebRTC on it),
    `UNRECOGNIZED_NAME` (SNI), `HANDSHAKE_TIMEOUT`, `CONNECTION_CLOSED` (by the client, during the handshake), `NO_DATA`
    (closed before a byte: a port scan, or a health check) and `REFUSED` (the client CAs changed meanwhile). `alert` is
    the alert that was sent, None where none was, "encrypted" where OpenSSL does not say which one.
    """

    event: ClassVar[str] = "tls_client_error"
    ip: str | None
    port: int | None
    code: str
    msg: str
    alert: str | None
    sni: str | None


@dataclass(frozen=True, kw_only=True)
class SilentClientEvent(ClientErrorEvent):
    """The same for a client that sent nothing until it closed the connection, or until the timeout.

    Browsers do so when they connect in advance.
    """


@dataclass(frozen=True, kw_only=True)
class CertificateLoadedEvent(Event):
    """A certificate is served from now on."""

    event: ClassVar[str] = "tls_certificate_loaded"
    source: str
    subject_alt_names: tuple[str, ...]
    not_after: datetime
    fingerprint_sha256: str


@dataclass(frozen=True, kw_only=True)
class NamesRemovedEvent(Event):
    """Host names are no longer served: the pair was removed from the directory, or its renewal does not have them."""

    event: ClassVar[str] = "tls_names_removed"
    names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ReloadFailedEvent(Event):
    """The files on disk cannot be used. `code` is that of the error.

    `kept` is what stays in use instead, in words: "certificate", "client CAs", "client CAs and CRLs", "ticket secret",
    or "list of pairs" for a directory. None: there is nothing yet, since the pair is new in its directory.
    """

    event: ClassVar[str] = "tls_reload_failed"
    source: str
    code: str
    msg: str
    kept: str | None = "certificate"


@dataclass(frozen=True, kw_only=True)
class CertificateExpiringEvent(Event):
    """A third of a certificate's lifetime is left, or less. `days_left` is negative once it has expired.

    `severity` is "warning" from a third on, "error" from a tenth on, "critical" when it has expired.
    """

    event: ClassVar[str] = "tls_certificate_expiring"
    source: str
    not_after: datetime
    days_left: float
    severity: Severity


@dataclass(frozen=True, kw_only=True)
class CRLExpiringEvent(Event):
    """A third of the time of a CRL in `client_crl` is left, or less. After its nextUpdate, all clients of its CA are
    refused.

    `source` is the file, `issuer` the CA. `days_left` and `severity` are as in CertificateExpiringEvent.
    """

    event: ClassVar[str] = "tls_crl_expiring"
    source: str
    issuer: str
    next_update: datetime
    days_left: float
    severity: Severity
    msg: str


@dataclass(frozen=True, kw_only=True)
class ClientCAExpiringEvent(Event):
    """A CA certificate in `client_ca` expires within 30 days, or has expired: then all clients of that CA are refused.

    `source` is the file, `subject` the CA. `severity` is "warning" for 30 days, "error" for the last nine, "critical"
    once it has expired; less for a CA of less than 90 days. `days_left` is as in CertificateExpiringEvent.
    """

    event: ClassVar[str] = "tls_client_ca_expiring"
    source: str
    subject: str
    not_after: datetime
    days_left: float
    severity: Severity
    msg: str


@dataclass(frozen=True, kw_only=True)
class StaplingEvent(Event):
    """A request for the OCSP response of a certificate has a result.

    `next_update` says until when the response that is stapled now is fresh; None where none is stapled. A previous
    response is stapled as long as it is fresh. `severity` is "info" for a good one, "error" for a revoked certificate
    and for one that must have a response and has none, else "warning".
    """

    event: ClassVar[str] = "tls_stapling"
    source: str
    subject_alt_names: tuple[str, ...]
    fingerprint_sha256: str
    status: StaplingStatus
    msg: str
    next_update: datetime | None
    severity: Severity


ACMEAction = Literal["obtaining", "obtained", "failed", "scheduled", "blocked"]


@dataclass(frozen=True, kw_only=True)
class ACMEEvent(Event):
    """The state of a certificate that the server orders by ACME.

    `action`: an order begins ("obtaining"), has succeeded ("obtained") or failed ("failed"); the CA has named the time
    of the renewal ("scheduled"); an order is due, and a limit of the server's own forbids it ("blocked"). `directory`
    is the CA's, `challenge` the type of challenge. `code` is that of the entry of `asgi-tls explain`, None if nothing
    is wrong. Nothing is tried before `again_at`. `renew_at` is when the certificate that is there will be renewed.
    `severity` is "critical" for a failure while no valid certificate is served, else "error", "warning" or "info".
    """

    event: ClassVar[str] = "tls_acme"
    names: tuple[str, ...]
    action: ACMEAction
    directory: str
    challenge: str | None
    code: str | None
    msg: str
    again_at: datetime | None
    renew_at: datetime | None
    severity: Severity


@dataclass(frozen=True, kw_only=True)
class GuardEvent(Event):
    """An address is blocked from now on ("blocked"), or no longer ("released"), or its connections are being closed
    ("refused", once a second at most).

    `ip` is the address, or the /64 network of an IPv6 address. `failures` within `window_s` seconds block an address.
    `connections` is how many were closed since the last event.
    """

    event: ClassVar[str] = "tls_guard"
    ip: str
    action: Literal["blocked", "refused", "released"]
    failures: float
    window_s: float
    connections: int


@runtime_checkable
class Listener(Protocol):
    """Takes an event. Events of handshakes come one at a time; those of certificates may come at the same time."""

    def __call__(self, event: Event, /) -> None:
        """Handle it. An exception is logged, and affects nothing else."""


@runtime_checkable
class Gate(Listener, Protocol):
    """A listener that decides who may connect. It is called in the event loop, so it must be quick."""

    def admits(self, ip: str, /) -> bool:
        """Whether a connection from this address is accepted. Otherwise it is closed at once."""


@runtime_checkable
class Starting(Protocol):
    """A listener that needs a setup in each process that serves."""

    def start(self, tell: Callable[[Event], None], /) -> None:
        """Called before the first event, once for each context. `tell` takes events of the listener's own."""


_applications: Final[dict[object, Listener]] = {}


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Call `listener` with the events of every server in this process, until the block is left.

    For an application that does not make the ServerTLS which serves it, as under `asgi-tls uvicorn app:app`: enter it
    in the lifespan. The listener is called in a thread: hand over to the event loop by `loop.call_soon_threadsafe`.
    Each worker reports its own events. A `Gate` decides nothing here.
    """
    entry = object()  # the same listener may be in several blocks
    _applications[entry] = listener
    try:
        yield
    finally:
        del _applications[entry]


def applications() -> tuple[Listener, ...]:
    """The listeners that are inside `listening` now."""
    return tuple(_applications.values())


def notify(listeners: Iterable[Listener], event: Event) -> None:
    """Call each listener with the event. An exception is logged, and stops neither a handshake nor the others."""
    for listener in listeners:
        try:
            listener(event)
        except Exception:
            logger.exception("the listener %r failed on %s", listener, event.event)
