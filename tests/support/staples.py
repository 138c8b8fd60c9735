"""A client that asks for an OCSP response, which Python's own does not: libssl is told to."""

from __future__ import annotations

import ctypes
import socket
import ssl

from handshakes import client
from memory import handshake

from asgi_tls._openssl.library import reach

# openssl/tls1.h
_SET_STATUS_REQ_TYPE = 65
_GET_STATUS_REQ_OCSP_RESP = 70
_TYPE_OCSP = 1


def asking(**how: object) -> ssl.SSLContext:
    """A client context (see `handshakes.client`) that sends status_request."""
    lib, context = reach(), client(**how)  # type: ignore[arg-type]
    assert lib.SSL_CTX_ctrl(lib.context(context), _SET_STATUS_REQ_TYPE, _TYPE_OCSP, None) == 1
    return context


def response_of(connection: ssl.SSLObject | ssl.SSLSocket) -> bytes | None:
    """What the server has stapled."""
    lib = reach()
    pointer = lib.connection(connection)
    assert pointer is not None
    at = ctypes.c_void_p()
    size = lib.SSL_ctrl(pointer, _GET_STATUS_REQ_OCSP_RESP, 0, ctypes.cast(ctypes.pointer(at), ctypes.c_char_p))
    return ctypes.string_at(at, size) if at.value and size > 0 else None


def stapled(server: ssl.SSLContext, *, server_name: str | None = "localhost", **how: object) -> bytes | None:
    """What a new client gets, in a handshake in memory."""
    return response_of(handshake(server, asking(**how), server_name=server_name).client)


def stapled_at(port: int, **how: object) -> bytes | None:
    """What a new client gets from a server."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as raw,
        asking(**how).wrap_socket(raw, server_hostname="localhost") as secure,
    ):
        return response_of(secure)
