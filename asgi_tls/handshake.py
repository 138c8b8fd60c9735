"""A handshake, observed where it happens: in the SSLObject that every asyncio transport drives.

`TLSObject` goes into `SSLContext.sslobject_class`, a documented seam that asyncio, uvloop and every server honour.
"""

from __future__ import annotations

import functools
import ssl
from typing import Any

from asgi_tls import _openssl
from asgi_tls.connection import TLSConnection, current_connection


class TLSObject(ssl.SSLObject):
    """One server side of a connection. `server_name` is set by the context when the ClientHello names it."""

    server_name: str | None = None

    def do_handshake(self) -> None:
        super().do_handshake()
        # asyncio and uvloop call the protocol's connection_made right after this, in the same call: the tasks that a
        # server starts there inherit the variable.
        current_connection.set(self)

    @functools.cached_property
    def connection(self) -> TLSConnection | None:
        """The facts of the handshake, read once; None before it has finished."""
        return describe(self)


def describe(connection: ssl.SSLObject | ssl.SSLSocket) -> TLSConnection | None:
    """The facts of a finished handshake on either kind of ssl object, None before it has finished."""
    cipher = connection.cipher()
    protocol = connection.version()
    if cipher is None or protocol is None:
        return None
    return TLSConnection(
        protocol=protocol,
        cipher=cipher[0],
        group=_openssl.negotiated_group(connection),
        alpn=connection.selected_alpn_protocol(),
        server_name=getattr(connection, "server_name", None),
        resumed=bool(connection.session_reused),
        server_certificate=getattr(connection.context, "leaf", None),
        client_chain=_verified_chain(connection),
    )


def _verified_chain(connection: ssl.SSLObject | ssl.SSLSocket) -> tuple[bytes, ...]:
    """The client's certificates in DER, leaf first, empty without one."""
    leaf = connection.getpeercert(binary_form=True)
    if leaf is None:
        return ()
    if hasattr(connection, "get_verified_chain"):  # Python 3.13
        return tuple(connection.get_verified_chain())
    inner: Any = getattr(connection, "_sslobj", None)
    chain = inner.get_verified_chain() if hasattr(inner, "get_verified_chain") else None
    if not chain:
        return (leaf,)
    # Python 3.10 to 3.12 have the method on the inner object only, which gives certificates that export themselves.
    return tuple(ssl.PEM_cert_to_DER_cert(certificate.public_bytes()) for certificate in chain)
