"""Who the client is, by its certificate (mTLS), and the two answers for one that has none or is not allowed.

    from asgi_tls.middleware.identity import ClientIdentity, client_identity, require_client

    Operator = Annotated[ClientIdentity, Depends(require_client(lambda client: "ops.example" in client.dns_names))]

    @app.post("/restart")              # FastAPI: 401 without a certificate, 403 with another one
    def restart(client: Operator): ...

    client = client_identity(request.scope)          # Starlette and plain ASGI: None without a certificate

The server has verified the certificate: `client_auth="optional"` lets clients without one come as far as this.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection  # noqa: TC002 -- FastAPI reads the annotation at run time

from asgi_tls.middleware.connection import tls_connection

if TYPE_CHECKING:
    from cryptography import x509
    from starlette.types import Scope

_BEGIN: Final = "-----BEGIN CERTIFICATE-----"
_END: Final = "-----END CERTIFICATE-----"

# RFC 9110 section 15.5.2: 401 must name a scheme. TLS has none that is registered.
_CHALLENGE: Final = {"WWW-Authenticate": "ClientCertificate"}


@dataclass(frozen=True, kw_only=True)
class ClientIdentity:
    """What a verified client certificate says. `subject` is RFC 4514, `serial_number` hexadecimal."""

    subject: str
    common_name: str | None
    dns_names: tuple[str, ...]
    emails: tuple[str, ...]
    uris: tuple[str, ...]
    serial_number: str
    fingerprint_sha256: str
    certificate: bytes = field(repr=False)  # DER


def client_identity(scope: Scope) -> ClientIdentity | None:
    """The client's identity, None where it showed no certificate.

    It comes from the handshake itself, else from the `tls` extension of a server that fills it on its own, in any of
    its shapes: `client_cert_chain` as a list of PEM certificates, or as one string that holds them.
    """
    connection = tls_connection(scope)
    if connection is not None:
        return _identity(connection.client_chain[0]) if connection.client_chain else None
    extension = (scope.get("extensions") or {}).get("tls") or {}
    if extension.get("client_cert_error"):
        return None
    chain = extension.get("client_cert_chain") or ()
    first = chain if isinstance(chain, str) else next(iter(chain), "")
    certificate = _der(first)
    return None if certificate is None else _identity(certificate)


def require_client(
    allow: Callable[[ClientIdentity], bool] | None = None,
) -> Callable[[HTTPConnection], ClientIdentity]:
    """A dependency for FastAPI, or a function to call with a Starlette request: the client's identity.

    It raises HTTPException: 401 without a certificate, 403 where `allow` says no.
    """

    def identify(connection: HTTPConnection) -> ClientIdentity:
        client = client_identity(connection.scope)
        if client is None:
            raise HTTPException(401, "This needs a client certificate.", _CHALLENGE)
        if allow is not None and not allow(client):
            raise HTTPException(403, "This client certificate is not allowed here.")
        return client

    return identify


def _der(pem: Any) -> bytes | None:
    body, end, _ = str(pem).partition(_BEGIN)[2].partition(_END)
    return base64.b64decode("".join(body.split())) if end else None


@functools.lru_cache(maxsize=256)  # the requests of one connection ask for the same certificate
def _identity(certificate: bytes) -> ClientIdentity:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    parsed = x509.load_der_x509_certificate(certificate)
    common_names = parsed.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    names = _alternative_names(parsed)
    return ClientIdentity(
        subject=parsed.subject.rfc4514_string(),
        common_name=str(common_names[0].value) if common_names else None,
        dns_names=tuple(names.get_values_for_type(x509.DNSName)) if names else (),
        emails=tuple(names.get_values_for_type(x509.RFC822Name)) if names else (),
        uris=tuple(names.get_values_for_type(x509.UniformResourceIdentifier)) if names else (),
        serial_number=f"{parsed.serial_number:x}",
        fingerprint_sha256=hashlib.sha256(certificate).hexdigest(),
        certificate=certificate,
    )


def _alternative_names(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    from cryptography import x509

    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None
