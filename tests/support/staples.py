"""Clients that ask for an OCSP response, which Python's own does not."""

from __future__ import annotations

import socket
import ssl

from handshakes import client, needs_libssl
from memory import handshake

from asgi_tls._openssl import stapled_response
from asgi_tls._openssl.library import reach

# openssl/tls1.h
_SET_STATUS_REQ_TYPE = 65
_TYPE_OCSP = 1


def asking(**how: object) -> ssl.SSLContext:
    """A client context (see `handshakes.client`) whose connections send status_request."""
    needs_libssl()
    lib, context = reach(), client(**how)  # type: ignore[arg-type]
    assert lib.SSL_CTX_ctrl(lib.context(context), _SET_STATUS_REQ_TYPE, _TYPE_OCSP, None) == 1
    return context


def stapled(server: ssl.SSLContext, *, server_name: str | None = "localhost", **how: object) -> bytes | None:
    """What a new client gets, in a handshake in memory."""
    return stapled_response(handshake(server, asking(**how), server_name=server_name).client)


def stapled_at(port: int, **how: object) -> bytes | None:
    """What a new client gets from a server."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=60) as raw,
        asking(**how).wrap_socket(raw, server_hostname="localhost") as secure,
    ):
        return stapled_response(secure)
