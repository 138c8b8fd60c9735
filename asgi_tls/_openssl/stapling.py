"""The OCSP response that goes out with a certificate (RFC 6066 section 8, RFC 8446 section 4.4.2.1)."""

from __future__ import annotations

import ctypes
import logging
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Final

from asgi_tls._openssl.library import LibSSL, StatusFunction, reach

logger = logging.getLogger("asgi_tls")

# openssl/tls1.h: stable since 1.1.0.
_SSL_CTRL_SET_TLSEXT_STATUS_REQ_CB: Final = 63
_SSL_CTRL_SET_TLSEXT_STATUS_REQ_OCSP_RESP: Final = 71
_SSL_TLSEXT_ERR_OK: Final = 0
_SSL_TLSEXT_ERR_NOACK: Final = 3
_SHA256_SIZE: Final = 32


def staple(context: ssl.SSLContext, fingerprints: Sequence[str], find: Callable[[str], bytes | None]) -> Any:
    """Ask `find` for the response whenever a client wants one with a certificate of this context.

    `fingerprints` are those of the context's certificates, SHA-256 in lower-case hexadecimal; `find` takes one, and
    gives the response in DER, or None. It is called in the thread of the handshake, so it must be quick. Whatever goes
    wrong, the handshake goes on without a response.

    The value must live as long as `context`: libssl calls it.

    Raises UnsupportedError.
    """
    lib = reach()
    only = fingerprints[0] if len(fingerprints) == 1 else None

    def on_status_request(connection: int, _argument: int) -> int:
        try:
            response = find(only or _fingerprint(lib, connection))
            return _SSL_TLSEXT_ERR_OK if response and _give(lib, connection, response) else _SSL_TLSEXT_ERR_NOACK
        except Exception:  # it would be lost in libssl
            logger.exception("no OCSP response could be stapled")
            return _SSL_TLSEXT_ERR_NOACK

    callback = StatusFunction(on_status_request)
    lib.SSL_CTX_callback_ctrl(lib.context(context), _SSL_CTRL_SET_TLSEXT_STATUS_REQ_CB, callback)
    return callback


def _fingerprint(lib: LibSSL, connection: int) -> str:
    """Of the certificate that was chosen: libssl makes it the current one before it calls."""
    digest = ctypes.create_string_buffer(_SHA256_SIZE)
    certificate = lib.SSL_get_certificate(connection)
    if not certificate or not lib.X509_digest(certificate, lib.EVP_sha256(), digest, None):
        return ""
    return digest.raw.hex()


def _give(lib: LibSSL, connection: int, response: bytes) -> bool:
    # libssl takes the memory over, and frees it with the connection: it must come from OpenSSL's own allocator.
    memory = lib.CRYPTO_malloc(len(response), None, 0)
    if not memory:
        return False
    ctypes.memmove(memory, response, len(response))
    given = ctypes.c_char_p(memory)
    return bool(lib.SSL_ctrl(connection, _SSL_CTRL_SET_TLSEXT_STATUS_REQ_OCSP_RESP, len(response), given))
