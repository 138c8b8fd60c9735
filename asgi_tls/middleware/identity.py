"""Who the client is, by its certificate (mTLS), and the two answers for one that has none or is not allowed.

    from asgi_tls.middleware.identity import ClientIdentity, client_identity, require_client

    Operator = Annotated[ClientIdentity, Depends(require_client(lambda client: "ops.example" in client.dns_names))]

    @app.post("/restart")              # FastAPI: 401 without a certificate, 403 with another one
    def restart(client: Operator): ...

    client = client_identity(request.scope)          # Starlette and plain ASGI: None without a certificate

The server has verified the certificate: `client_auth="optional"` lets clients without one reach the application. Where
a verified certificate cannot be read (names in a broken encoding), there is no identity: 403, and a line in the log.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection  # noqa: TC002 -- FastAPI reads the annotation at run time

from asgi_tls.connection import ClientIdentity
from asgi_tls.middleware.connection import tls_connection

if TYPE_CHECKING:
    from starlette.types import Scope

__all__ = ["ClientIdentity", "client_identity", "require_client"]

_log = logging.getLogger("asgi_tls")

_BEGIN: Final = "-----BEGIN CERTIFICATE-----"
_END: Final = "-----END CERTIFICATE-----"

# RFC 9110 section 15.5.2: 401 must name a scheme. TLS has none that is registered.
_CHALLENGE: Final = {"WWW-Authenticate": "ClientCertificate"}


def client_identity(scope: Scope) -> ClientIdentity | None:
    """The client's identity, None where it presented no certificate, or one that cannot be read.

    It comes from the handshake of the connection that the scope is about, else from the `tls` extension of a server
    that fills it on its own, in any of its shapes: `client_cert_chain` as a list of PEM certificates, or as one string
    that holds them.
    """
    return _shown(scope)[1]


def require_client(
    allow: Callable[[ClientIdentity], bool] | None = None,
) -> Callable[[HTTPConnection], ClientIdentity]:
    """A dependency for FastAPI, or a function to call with a Starlette request: the client's identity.

    It raises HTTPException: 401 without a certificate, 403 where `allow` says no and where it cannot be read.
    """

    def identify(connection: HTTPConnection) -> ClientIdentity:
        has_certificate, client = _shown(connection.scope)
        if client is None:
            if has_certificate:
                raise HTTPException(403, "This client certificate cannot be read.")
            raise HTTPException(401, "This needs a client certificate.", _CHALLENGE)
        if allow is not None and not allow(client):
            raise HTTPException(403, "This client certificate is not allowed here.")
        return client

    return identify


def _shown(scope: Scope) -> tuple[bool, ClientIdentity | None]:
    """Whether the client presented a verified certificate, and whom it names."""
    connection = tls_connection(scope)
    if connection is not None:
        return bool(connection.client_chain), connection.client
    extension = (scope.get("extensions") or {}).get("tls") or {}
    if extension.get("client_cert_error"):
        return False, None
    chain = extension.get("client_cert_chain") or ()
    first = str(chain if isinstance(chain, str) else next(iter(chain), ""))
    return _END in first, _read(first)


@functools.lru_cache(maxsize=256)  # the requests of one connection ask for the same certificate
def _read(pem: str) -> ClientIdentity | None:
    """The identity in the first certificate of a PEM text that another server has put into a scope."""
    body, end, _ = pem.partition(_BEGIN)[2].partition(_END)
    if not end:
        return None
    try:
        return _identity(base64.b64decode("".join(body.split())))
    except Exception as error:  # noqa: BLE001 -- whatever the parser fails on, nobody gets in by it
        _log.warning(
            "The server's TLS extension has a client certificate that cannot be read (%s): requests with it have no "
            "client identity. Serve with asgi-tls, which reads it as OpenSSL does, or issue it again.",
            error,
        )
        return None


def _identity(certificate: bytes) -> ClientIdentity:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    parsed = x509.load_der_x509_certificate(certificate)
    common_names = parsed.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    alternatives = [each.value for each in parsed.extensions if isinstance(each.value, x509.SubjectAlternativeName)]
    names = alternatives[0] if alternatives else x509.SubjectAlternativeName([])
    return ClientIdentity(
        subject=parsed.subject.rfc4514_string(),
        common_name=str(common_names[0].value) if common_names else None,
        dns_names=tuple(names.get_values_for_type(x509.DNSName)),
        emails=tuple(names.get_values_for_type(x509.RFC822Name)),
        uris=tuple(names.get_values_for_type(x509.UniformResourceIdentifier)),
        serial_number=f"{parsed.serial_number:x}",
        fingerprint_sha256=hashlib.sha256(certificate).hexdigest(),
        certificate=certificate,
    )
