"""What proves to a CA that this server answers for a name, as bytes: no network and no storage."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509

from asgi_tls.certificate.self_signed import self_signed

_ACME_IDENTIFIER: Final = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")  # RFC 8737 section 3
_LIFETIME: Final = timedelta(days=1)


def challenge_pair(name: str, key_authorization: str) -> tuple[bytes, bytes]:
    """The certificate of a tls-alpn-01 challenge and its key, PEM (RFC 8737 section 3; RFC 8738 for an IP address)."""
    now, digest = datetime.now(UTC), hashlib.sha256(key_authorization.encode("ascii")).digest()
    proof = x509.UnrecognizedExtension(_ACME_IDENTIFIER, b"\x04\x20" + digest)
    return self_signed("ACME challenge", [name], now - _LIFETIME, now + _LIFETIME, critical=proof)
