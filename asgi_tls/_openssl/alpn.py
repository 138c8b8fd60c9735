"""The application protocol (RFC 7301), where the standard library cannot refuse a client that names no common one."""

from __future__ import annotations

import ctypes
import functools
import ssl
from collections.abc import Iterator, Sequence
from typing import Any, Final

from asgi_tls._openssl.library import ProtocolFunction, kept_alive, libssl

# openssl/tls1.h
_SSL_TLSEXT_ERR_OK: Final = 0
_SSL_TLSEXT_ERR_ALERT_FATAL: Final = 2

_HTTP_1_0: Final = "http/1.0"


def set_protocols(context: ssl.SSLContext, protocols: Sequence[str]) -> None:
    """Choose the first of `protocols` that the client names.

    A client that names others only gets the alert no_application_protocol (RFC 7301 section 3.2) where libssl is in
    reach, else a handshake without a protocol. One that names none is served as always. A server of HTTP/1.1 speaks
    HTTP/1.0 as well (RFC 9110 section 6.2), which some clients name alone (`curl --http1.0`).
    """
    if "http/1.1" in protocols and _HTTP_1_0 not in protocols:
        protocols = (*protocols, _HTTP_1_0)
    context.set_alpn_protocols(list(protocols))
    lib, _ = libssl()
    if lib is not None:
        lib.SSL_CTX_set_alpn_select_cb(lib.context(context), _chooser(tuple(protocols)), None)


@functools.cache
def _chooser(protocols: tuple[str, ...]) -> Any:
    """The callback for these protocols. Two threads may make one each; the cache keeps the later, hence the list."""
    own = [(name, ctypes.create_string_buffer(name)) for name in (each.encode("ascii") for each in protocols)]
    places = [(name, buffer, ctypes.addressof(buffer)) for name, buffer in own]

    def choose(_connection: int, chosen: int, size: int, offered: int, offered_size: int, _argument: int) -> int:
        named = {*_names(ctypes.string_at(offered, offered_size))}
        for name, _buffer, place in places:  # OpenSSL copies the name after the callback: the buffers live as long
            if name in named:
                ctypes.c_void_p.from_address(chosen).value = place
                ctypes.c_ubyte.from_address(size).value = len(name)
                return _SSL_TLSEXT_ERR_OK
        return _SSL_TLSEXT_ERR_ALERT_FATAL

    kept_alive.append(function := ProtocolFunction(choose))
    return function


def _names(listed: bytes) -> Iterator[bytes]:
    """Each name behind a length of one byte. OpenSSL has checked that the list is well formed."""
    at = 0
    while at < len(listed):
        end = at + 1 + listed[at]
        yield listed[at + 1 : end]
        at = end
