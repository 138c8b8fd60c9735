"""The facts of a finished handshake, on either kind of ssl object, for applications and events."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from typing import Any

from asgi_tls import _openssl
from asgi_tls.connection import TLSConnection
from asgi_tls.handshake.client import client_of


def describe(connection: ssl.SSLObject | ssl.SSLSocket) -> TLSConnection | None:
    """The facts of a finished handshake on either kind of ssl object, None before it has finished."""
    cipher = connection.cipher()
    protocol = connection.version()
    if cipher is None or protocol is None:
        return None
    leaf = connection.getpeercert(binary_form=True)
    chain = () if leaf is None else verified_chain(connection) or (leaf,)
    return TLSConnection(
        protocol=protocol,
        cipher=cipher[0],
        group=_openssl.negotiated_group(connection),
        alpn=connection.selected_alpn_protocol(),
        server_name=getattr(connection, "tls_server_name", None),
        resumed=bool(connection.session_reused),
        server_certificate=getattr(connection.context, "tls_leaf", None),
        client_chain=chain,
        client=client_of(connection, chain[0]) if chain else None,
    )


def verified_chain(connection: ssl.SSLObject | ssl.SSLSocket) -> tuple[bytes, ...]:
    """The client's certificates in DER, leaf first, empty without one. Where they do not verify: as far as they led."""
    if hasattr(connection, "get_verified_chain"):  # Python 3.13
        return tuple(connection.get_verified_chain())
    # Python 3.11 and 3.12 have the method on the inner object only, which gives certificates that export themselves.
    inner: Any = getattr(connection, "_sslobj", None)
    chain = inner.get_verified_chain() if hasattr(inner, "get_verified_chain") else None
    return tuple(ssl.PEM_cert_to_DER_cert(certificate.public_bytes()) for certificate in chain or ())


def session_fields(
    connection: ssl.SSLObject | ssl.SSLSocket,
    address: tuple[str | None, int | None],
    *,
    group: str | None,
    resumed: bool,
    elapsed: float,
) -> dict[str, Any]:
    """What a SessionEvent is made of; `elapsed` is in seconds."""
    return _fields(
        address,
        elapsed,
        protocol=connection.version() or "",
        cipher=(connection.cipher() or ("",))[0],
        group=group,
        alpn=connection.selected_alpn_protocol(),
        sni=getattr(connection, "tls_server_name", None),
        resumed=resumed,
    )


def fields_of(facts: TLSConnection, address: tuple[str | None, int | None], *, elapsed: float) -> dict[str, Any]:
    """The same for a connection whose facts have been read already."""
    return _fields(
        address,
        elapsed,
        protocol=facts.protocol,
        cipher=facts.cipher,
        group=facts.group,
        alpn=facts.alpn,
        sni=facts.server_name,
        resumed=facts.resumed,
    )


def _fields(address: tuple[str | None, int | None], elapsed: float, **facts: Any) -> dict[str, Any]:
    return {
        "ts": datetime.now(UTC),
        "ip": address[0],
        "port": address[1],
        "duration_ms": round(elapsed * 1e3, 3),
        **facts,
    }
