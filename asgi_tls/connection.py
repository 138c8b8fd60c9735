"""What is known about the TLS connection of a request, and where a scope holds it.

A server adapter calls the application through `connected`, so each scope names its own connection. Nothing is inherited
from task to task: a scope from elsewhere has none. No `ssl` here: the middleware works without it.
"""

from __future__ import annotations

import base64
import functools
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from asgi_tls.profile import cipher_number

CONNECTION: Final = "asgi_tls.connection"
"""The key of an ASGI scope under which a function returns the TLSConnection, or None where nothing is known of it."""

# RFC 8446 section 4.1.2, RFC 5246 section 6.2.1: how the versions are numbered.
_VERSION_NUMBERS: Final = {"TLSv1.2": 0x0303, "TLSv1.3": 0x0304}


@dataclass(frozen=True, kw_only=True)
class ClientIdentity:
    """The contents of a verified client certificate. `subject` is RFC 4514, `serial_number` hexadecimal."""

    subject: str
    common_name: str | None
    dns_names: tuple[str, ...]
    emails: tuple[str, ...]
    uris: tuple[str, ...]
    serial_number: str
    fingerprint_sha256: str
    certificate: bytes = field(repr=False)  # DER


@dataclass(frozen=True, kw_only=True)
class TLSConnection:
    """The facts of one finished handshake.

    `protocol` is "TLSv1.2" or "TLSv1.3", `cipher` OpenSSL's name of the suite, `group` the key exchange ("X25519",
    "P-256", "X25519MLKEM768"), None where it cannot be read. `server_name` is what the client asked for (SNI).
    `server_certificate` and `client_chain` are DER, the client's chain leaf first, as verified. `client` is the
    identity in its certificate, None without one and if it cannot be read.
    """

    protocol: str
    cipher: str
    group: str | None
    alpn: str | None
    server_name: str | None
    resumed: bool
    server_certificate: bytes | None = field(default=None, repr=False)
    client_chain: tuple[bytes, ...] = field(default=(), repr=False)
    client: ClientIdentity | None = None

    @functools.cached_property
    def extension(self) -> dict[str, Any]:
        """The value of `scope["extensions"]["tls"]`, by the ASGI TLS extension 0.2."""
        return {
            "server_cert": None if self.server_certificate is None else _pem(self.server_certificate),
            "client_cert_chain": [_pem(certificate) for certificate in self.client_chain],
            "client_cert_name": None if self.client is None else self.client.subject,
            "client_cert_error": None,  # a certificate that does not verify ends the handshake
            "tls_version": _VERSION_NUMBERS.get(self.protocol),
            "cipher_suite": cipher_number(self.cipher),
        }


class HasConnection(Protocol):
    """A handshake that describes its connection when it is asked."""

    @property
    def tls_connection(self) -> TLSConnection | None: ...


def connected(app: Callable[..., Any], handshake: HasConnection) -> Callable[..., Any]:
    """The application for the requests of one connection. Servers may pass further arguments behind the scope."""

    def connection() -> TLSConnection | None:  # a function: hypercorn's ProxyFixMiddleware makes deep copies of scopes
        return handshake.tls_connection

    def connected_app(scope: dict[str, Any], *channels: Any) -> Any:
        scope[CONNECTION] = connection
        return app(scope, *channels)

    return connected_app


def _pem(certificate: bytes) -> str:
    lines = textwrap.wrap(base64.b64encode(certificate).decode("ascii"), 64)
    return "\n".join(("-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""))
