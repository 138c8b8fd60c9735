"""Who the client is, as `ssl` itself reads the certificate that it has verified.

OpenSSL accepts more than stricter parsers do (Latin-1 in a T61String, encoded DEFAULT values, X.509 version 4), so it
also reads what it has verified. Where even that fails, there is no identity, and a line in the log.
"""

from __future__ import annotations

import hashlib
import logging
import ssl
from _ssl import txt2obj
from typing import Any, Final

from asgi_tls.connection import ClientIdentity

logger = logging.getLogger("asgi_tls")

# RFC 4514 section 3. Other types are written as dotted numbers (section 2.3).
_SHORT_NAMES: Final = {
    "commonName": "CN",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "streetAddress": "STREET",
    "domainComponent": "DC",
    "userId": "UID",
}
# RFC 4514 section 2.4.
_ESCAPES: Final = str.maketrans({each: f"\\{each}" for each in '\\"+,;<>'} | {"\0": "\\00"})

_RDN = tuple[tuple[str, str], ...]


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
    subject: tuple[_RDN, ...] = said.get("subject", ())
    names: tuple[tuple[str, str], ...] = said.get("subjectAltName", ())
    number = said["serialNumber"].replace("\\\n", "")  # OpenSSL breaks long numbers into lines
    return ClientIdentity(
        subject=rfc4514(subject),
        common_name=next((value for rdn in subject for kind, value in rdn if kind == "commonName"), None),
        dns_names=tuple(value for kind, value in names if kind == "DNS"),
        emails=tuple(value for kind, value in names if kind == "email"),
        uris=tuple(value for kind, value in names if kind == "URI"),
        serial_number=f"{int(number, 16):x}",
        fingerprint_sha256=fingerprint,
        certificate=certificate,
    )


def rfc4514(name: tuple[_RDN, ...]) -> str:
    """A distinguished name in the shape of `getpeercert` as text: the last part first (RFC 4514 section 2.1)."""
    return ",".join("+".join(f"{_type(kind)}={_escape(value)}" for kind, value in rdn) for rdn in reversed(name))


def _type(long_name: str) -> str:
    return _SHORT_NAMES.get(long_name) or txt2obj(long_name, name=True)[3]


def _escape(value: str) -> str:
    escaped = value.translate(_ESCAPES)
    if value[:1] in {"#", " "}:
        escaped = f"\\{escaped}"
    return f"{escaped[:-1]}\\ " if len(value) > 1 and value.endswith(" ") else escaped
