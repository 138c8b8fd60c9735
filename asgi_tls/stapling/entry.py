"""One certificate with OCSP stapling, and its state."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from asgi_tls import _openssl
from asgi_tls.certificate import Certificate
from asgi_tls.errors import MalformedCertificateError, StaplingError
from asgi_tls.stapling.cache import Attempt

if TYPE_CHECKING:
    from asgi_tls.stapling.ocsp import Subject


@dataclass(eq=False)
class Entry:
    """`staple` is the response and its end, `this_update` its begin, `due` the time of the next request.

    Times are seconds since the epoch, except `seen` (monotonic): when the certificate was last loaded.
    """

    certificate: Certificate
    subject: Subject
    url: str
    staple: tuple[bytes, float] | None = None
    this_update: float = 0.0
    due: float = 0.0
    attempt: Attempt | None = None
    has_asked: bool = False
    seen: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def key(self) -> str:
        return self.certificate.fingerprint_sha256

    @property
    def host(self) -> str:
        """The host of the responder."""
        return self.url.partition("://")[2].partition("/")[0]


def entry_for(certificate: Certificate) -> Entry | str:
    """The entry, or the reason why no response can be stapled."""
    if certificate.ocsp_url is None:
        return "the certificate names no OCSP responder"
    if not _openssl.reachable():
        return f"libssl cannot be reached: {_openssl.capabilities().reason}"
    from asgi_tls.stapling.ocsp import subject_in

    try:
        subject = subject_in(certificate.chain_pem)
    except MalformedCertificateError as error:
        return f"no OCSP request can be made: {error.problem}"
    return (
        "the file does not contain its issuer" if subject is None else Entry(certificate, subject, certificate.ocsp_url)
    )


def without(certificate: Certificate, problem: str) -> StaplingError:
    """The error if a response is required."""
    return StaplingError(
        f"{certificate.source}: {problem}",
        fix='Run `asgi-tls ocsp status CERT`, or set {stapling} to "auto", which serves it without a response.',
        settings=("stapling",),
    )


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
