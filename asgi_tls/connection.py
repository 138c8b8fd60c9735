"""What is known of the TLS connection that a request came over.

`current_connection` is set by each server adapter to the handshake of the connection that is being served, and read by
`asgi_tls.middleware.connection`. No `ssl` here: the middleware works without it.
"""

from __future__ import annotations

import base64
import functools
import textwrap
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from asgi_tls.profile import cipher_number

# RFC 8446 section 4.1.2, RFC 5246 section 6.2.1: how the versions are numbered.
_VERSION_NUMBERS: Final = {"TLSv1.2": 0x0303, "TLSv1.3": 0x0304}


@dataclass(frozen=True, kw_only=True)
class TLSConnection:
    """The facts of one finished handshake.

    `protocol` is "TLSv1.2" or "TLSv1.3", `cipher` OpenSSL's name of the suite, `group` the key exchange ("X25519",
    "P-256", "X25519MLKEM768"), None where it cannot be read. `server_name` is what the client asked for (SNI).
    `server_certificate` and `client_chain` are DER, the client's chain leaf first, as verified.
    """

    protocol: str
    cipher: str
    group: str | None
    alpn: str | None
    server_name: str | None
    resumed: bool
    server_certificate: bytes | None = field(default=None, repr=False)
    client_chain: tuple[bytes, ...] = field(default=(), repr=False)

    @functools.cached_property
    def extension(self) -> dict[str, Any]:
        """The value of `scope["extensions"]["tls"]`, by the ASGI TLS extension 0.2."""
        return {
            "server_cert": None if self.server_certificate is None else _pem(self.server_certificate),
            "client_cert_chain": [_pem(certificate) for certificate in self.client_chain],
            "client_cert_name": _subject(self.client_chain[0]) if self.client_chain else None,
            "client_cert_error": None,  # a certificate that does not verify ends the handshake
            "tls_version": _VERSION_NUMBERS.get(self.protocol),
            "cipher_suite": cipher_number(self.cipher),
        }


class HasConnection(Protocol):
    """A handshake that can tell its facts when it is asked."""

    @property
    def connection(self) -> TLSConnection | None: ...


current_connection: Final[ContextVar[HasConnection | None]] = ContextVar("asgi_tls.connection", default=None)


def _pem(certificate: bytes) -> str:
    lines = textwrap.wrap(base64.b64encode(certificate).decode("ascii"), 64)
    return "\n".join(("-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""))


def _subject(certificate: bytes) -> str:
    from cryptography import x509

    return x509.load_der_x509_certificate(certificate).subject.rfc4514_string()
