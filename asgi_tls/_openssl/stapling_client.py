"""A client's side of OCSP stapling: ask for the response, and read what came with the handshake (RFC 6066 section 8).

The server's side is in `stapling`.
"""

from __future__ import annotations

import ctypes
import ssl
from typing import Final

from asgi_tls._openssl.library import libssl

# openssl/tls1.h
_SET_STATUS_TYPE: Final = 65
_GET_OCSP_RESPONSE: Final = 70
_STATUS_TYPE_OCSP: Final = 1


def request_staple(connection: ssl.SSLObject | ssl.SSLSocket) -> bool:
    """Before the handshake: ask the server for its response. False where libssl is out of reach."""
    lib, _ = libssl()
    pointer = None if lib is None else lib.connection(connection)
    if lib is None or pointer is None:
        return False
    return bool(lib.SSL_ctrl(pointer, _SET_STATUS_TYPE, _STATUS_TYPE_OCSP, None))


def stapled_response(connection: ssl.SSLObject | ssl.SSLSocket) -> bytes | None:
    """After the handshake: the response in DER, None when the server sent none."""
    lib, _ = libssl()
    pointer = None if lib is None else lib.connection(connection)
    if lib is None or pointer is None:
        return None
    found = ctypes.c_void_p()
    # SSL_ctrl is declared for text: the address of our pointer is passed as if it were text.
    address = ctypes.cast(ctypes.byref(found), ctypes.c_char_p)
    size = lib.SSL_ctrl(pointer, _GET_OCSP_RESPONSE, 0, address)
    if size <= 0 or not found.value:
        return None
    return ctypes.string_at(found.value, size)
