"""What a client may resume: OpenSSL's ticket keys and its cache, which the standard library leaves alone."""

from __future__ import annotations

import secrets
import ssl
from typing import Final

from asgi_tls._openssl.library import libssl, reach
from asgi_tls.errors import UnsupportedError

# openssl/tls1.h and openssl/ssl.h: stable since 1.1.1.
_SSL_CTRL_SET_TICKET_KEYS: Final = 59
_TICKET_KEYS_SIZE: Final = 80  # a name of 16 bytes, an HMAC key and an AES-256 key of 32 each


def can_end_sessions() -> bool:
    """Whether libssl is in reach."""
    return libssl()[0] is not None


def end_sessions(context: ssl.SSLContext) -> None:
    """From now on no session of before is resumed: new ticket keys, and an empty cache of sessions.

    Raises UnsupportedError.
    """
    lib = reach()
    pointer = lib.context(context)
    keys = secrets.token_bytes(_TICKET_KEYS_SIZE)
    if lib.SSL_CTX_ctrl(pointer, _SSL_CTRL_SET_TICKET_KEYS, _TICKET_KEYS_SIZE, keys) != 1:
        raise UnsupportedError("OpenSSL refused new ticket keys", fix="See `asgi-tls doctor`.")
    lib.SSL_CTX_flush_sessions(pointer, 0)  # 0: all of them
