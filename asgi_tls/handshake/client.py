"""Who the client is, as `ssl` itself reads the certificate that it has verified.

OpenSSL accepts more than stricter parsers do (Latin-1 in a T61String, encoded DEFAULT values, X.509 version 4), so it
also reads what it has verified. Where even that fails, there is no identity, and a line in the log.
"""

from __future__ import annotations

import hashlib
import logging
import ssl
from typing import Any

from asgi_tls.certificate.distinguished import RDN, rfc4514, serial_number
from asgi_tls.connection import ClientIdentity

logger = logging.getLogger("asgi_tls")


def client_of(connection: ssl.SSLObject | ssl.SSLSocket, certificate: bytes) -> ClientIdentity | None:
    """What the client's certificate (DER) says; None, and a line in the log, where it cannot be read."""
    fingerprint = hashlib.sha256(certificate).hexdigest()
    try:
        return _read(connection.getpeercert() or {}, certificate, fingerprint)
    except (KeyError, ValueError, ssl.SSLError):  # bytes that are not the text that they claim to be
        logger.warning(
            "The client certificate with SHA-256 fingerprint %s is verified, but its names cannot be read: "
            "requests with it have no client identity. Issue it again, with names in ASCII or UTF-8.",
            fingerprint,
        )
        return None


def _read(said: dict[str, Any], certificate: bytes, fingerprint: str) -> ClientIdentity:
    subject: tuple[RDN, ...] = said.get("subject", ())
    names: tuple[tuple[str, str], ...] = said.get("subjectAltName", ())
    return ClientIdentity(
        subject=rfc4514(subject),
        common_name=next((value for rdn in subject for kind, value in rdn if kind == "commonName"), None),
        dns_names=tuple(value for kind, value in names if kind == "DNS"),
        emails=tuple(value for kind, value in names if kind == "email"),
        uris=tuple(value for kind, value in names if kind == "URI"),
        serial_number=serial_number(said["serialNumber"]),
        fingerprint_sha256=fingerprint,
        certificate=certificate,
    )
