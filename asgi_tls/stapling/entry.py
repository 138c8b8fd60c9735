"""One certificate that can be stapled to, and what is known of it by now."""

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
    """`staple` is the response and when it ends, `this_update` when it began, `due` when to ask for the next.

    Times are seconds since the epoch, but for `seen`: when the certificate was last loaded, monotonic.
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
        """Of the responder."""
        return self.url.partition("://")[2].partition("/")[0]


def entry_for(certificate: Certificate) -> Entry | str:
    """Where nothing can be stapled to it, why."""
    if certificate.ocsp_url is None:
        return "the certificate names no OCSP responder"
    if _openssl.stapling() is None:
        return f"libssl cannot be reached: {_openssl.capabilities().reason}"
    from asgi_tls.stapling.ocsp import subject_in

    try:
        subject = subject_in(certificate.chain_pem)
    except MalformedCertificateError as error:
        return f"no request can be made for it: {error.problem}"
    return "its issuer is not in the file" if subject is None else Entry(certificate, subject, certificate.ocsp_url)


def without(certificate: Certificate, problem: str) -> StaplingError:
    """The error where one is required."""
    return StaplingError(
        f"{certificate.source}: {problem}",
        fix='See `asgi-tls ocsp status CERT`, or serve it with stapling="auto", which does without where it must.',
    )


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
