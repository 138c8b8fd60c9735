"""libssl, called on the SSL_CTX behind an `ssl.SSLContext`, after `_prove` has shown that the pointers are right.

It would break on a CPython whose `PySSLContext` no longer starts with the SSL_CTX, or whose `PySSLSocket` no longer
starts with `Socket, ssl, ctx` (Modules/_ssl.c, the same from 3.11 to 3.15): `_prove` detects that, and refuses.
"""

from __future__ import annotations

import ctypes
import functools
import os
import ssl
import struct
import sys
from collections.abc import Callable
from typing import Any, Final

from asgi_tls.errors import UnsupportedError

_WORD: Final = ctypes.sizeof(ctypes.c_void_p)
_HEAD: Final = object.__basicsize__
_GET_GROUP: Final = 134  # SSL_CTRL_GET_NEGOTIATED_GROUP

_PointerAndSize = ctypes.c_size_t * 2  # one object for both, since this runs in each handshake
_pointer_and_size = struct.Struct("@NN").unpack_from
HelloFunction = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
StatusFunction = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
ProtocolFunction = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * 4, ctypes.c_uint, ctypes.c_void_p)
TicketKeyFunction = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * 5, ctypes.c_int)


kept_alive: Final[list[Any]] = []
"""The callbacks that libssl may call as long as the process lives: a connection may outlive its context object."""


class LibSSL(ctypes.PyDLL):
    """libssl with the signatures that are used here. PyDLL: each call is short, so the GIL is kept."""

    def __init__(self, path: str | None) -> None:
        super().__init__(path)
        pointer, text, integer = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
        declare: Callable[[str, Any, list[Any]], None] = self._declare
        declare("OpenSSL_version_num", ctypes.c_ulong, [])
        declare("SSL_CTX_get_options", ctypes.c_uint64, [pointer])
        declare("SSL_CTX_ctrl", ctypes.c_long, [pointer, integer, ctypes.c_long, text])
        declare("SSL_CTX_set_ciphersuites", integer, [pointer, text])
        declare("SSL_CTX_set_client_hello_cb", None, [pointer, HelloFunction, pointer])
        declare("SSL_CTX_set_alpn_select_cb", None, [pointer, ProtocolFunction, pointer])
        declare("SSL_CTX_set_timeout", ctypes.c_long, [pointer, ctypes.c_long])
        flush = "SSL_CTX_flush_sessions_ex" if hasattr(self, "SSL_CTX_flush_sessions_ex") else "SSL_CTX_flush_sessions"
        declare(flush, None, [pointer, ctypes.c_long])
        self.flush_sessions = getattr(self, flush)  # of OpenSSL 3.4, and before
        declare("SSL_version", integer, [pointer])
        declare("SSL_client_hello_get0_ext", integer, [pointer, ctypes.c_uint, pointer, pointer])
        declare("SSL_set_options", ctypes.c_uint64, [pointer, ctypes.c_uint64])
        declare("SSL_ctrl", ctypes.c_long, [pointer, integer, ctypes.c_long, text])
        declare("SSL_get_SSL_CTX", pointer, [pointer])
        declare("SSL_CTX_callback_ctrl", ctypes.c_long, [pointer, integer, StatusFunction])
        declare("SSL_get_certificate", pointer, [pointer])
        declare("SSL_CTX_get_cert_store", pointer, [pointer])
        declare("SSL_CTX_add_client_CA", integer, [pointer, pointer])
        declare("SSL_CTX_set_client_CA_list", None, [pointer, pointer])
        # Of libcrypto, which the same handle finds.
        declare("X509_STORE_get0_objects", pointer, [pointer])
        declare("X509_OBJECT_get0_X509", pointer, [pointer])
        declare("X509_get_subject_name", pointer, [pointer])
        declare("i2d_X509_NAME", integer, [pointer, pointer])
        declare("OPENSSL_sk_num", integer, [pointer])
        declare("OPENSSL_sk_value", pointer, [pointer, integer])
        declare("CRYPTO_malloc", pointer, [ctypes.c_size_t, text, integer])
        declare("X509_digest", integer, [pointer, pointer, text, pointer])
        declare("EVP_sha256", pointer, [])
        self.group: Callable[[int], bytes | None] = lambda _: None  # looking up a missing symbol is slow: once
        if hasattr(self, "SSL_get0_group_name"):  # OpenSSL 3.2
            declare("SSL_get0_group_name", text, [pointer])
            self.group = self.SSL_get0_group_name
        elif hasattr(self, "SSL_group_to_name"):  # OpenSSL 3.0
            declare("SSL_group_to_name", text, [pointer, integer])
            self.group = lambda at: self.SSL_group_to_name(at, self.SSL_ctrl(at, _GET_GROUP, 0, None))
        self.has_ticket_callback = hasattr(self, "SSL_CTX_set_tlsext_ticket_key_evp_cb")  # OpenSSL 3.0
        if self.has_ticket_callback:
            declare("SSL_CTX_set_tlsext_ticket_key_evp_cb", integer, [pointer, TicketKeyFunction])
            declare("EVP_aes_256_cbc", pointer, [])
            declare("EVP_EncryptInit_ex", integer, [pointer, pointer, pointer, text, pointer])
            declare("EVP_DecryptInit_ex", integer, [pointer, pointer, pointer, text, pointer])
            declare("EVP_MAC_CTX_set_params", integer, [pointer, pointer])

    def _declare(self, name: str, result: Any, arguments: list[Any]) -> None:
        function = getattr(self, name)
        function.restype, function.argtypes = result, arguments

    @staticmethod
    def context(context: ssl.SSLContext) -> int | None:
        """The SSL_CTX: the first field behind the object header."""
        return _word(context, 0)

    def connection(self, connection: ssl.SSLObject | ssl.SSLSocket) -> int | None:
        """The SSL, None where the object does not look as expected. No pointer is followed before it is checked."""
        inner = getattr(connection, "_sslobj", None)
        context = connection.context
        # Socket, ssl, ctx: the third must be the context object itself.
        if inner is None or type(inner).__basicsize__ < _HEAD + 3 * _WORD or _word(inner, 2) != id(context):
            return None
        pointer = _word(inner, 1)
        if pointer is None or self.SSL_get_SSL_CTX(pointer) != self.context(context):
            return None
        return pointer

    def extension(self, connection: int, number: int) -> bytes:
        """The body of one extension of the ClientHello that is being read, empty without it."""
        found = _PointerAndSize()
        address = ctypes.addressof(found)
        if self.SSL_client_hello_get0_ext(connection, number, address, address + _WORD):
            return ctypes.string_at(*_pointer_and_size(found))
        return b""


@functools.cache
def libssl() -> tuple[LibSSL | None, str | None]:
    """The libssl that `_ssl` uses, or why there is none."""
    if sys.implementation.name != "cpython":
        return None, f"{sys.implementation.name} has another layout of SSL objects than CPython"
    import _ssl

    # A Python with `_ssl` built in has no file for it; its own symbols may still be visible.
    path = getattr(_ssl, "__file__", None)
    try:
        lib = LibSSL(path)
    except (OSError, AttributeError):
        where = "it is linked statically" if os.name != "nt" else "on Windows it is in a DLL of its own"
        return None, f"{path or sys.executable} does not export libssl: {where}"
    problem = _prove(lib)
    return (None, problem) if problem else (lib, None)


def _prove(lib: LibSSL) -> str | None:
    """What is wrong with our pointers; None when each check agrees with what `ssl` says."""
    if lib.OpenSSL_version_num() != ssl.OPENSSL_VERSION_NUMBER:
        return "the libssl that was found has another version than that of `ssl`"
    context = scratch()
    # This goes through checked fields only, and ends at the SSL_CTX by a second way.
    if lib.connection(context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)) is None:
        return "the layout of this Python's SSL objects is not known"
    for option in (ssl.Options(0), ssl.OP_NO_TICKET):
        context.options ^= option
        if (lib.SSL_CTX_get_options(lib.context(context)) ^ context.options) & 0xFFFFFFFF:
            return "libssl reports other options than `ssl` for the same context"
    return None


def reachable() -> bool:
    """Whether there is a libssl to call."""
    return libssl()[0] is not None


def reach() -> LibSSL:
    """The libssl to call. Raises UnsupportedError."""
    lib, reason = libssl()
    if lib is None:
        raise UnsupportedError(
            f"libssl cannot be called from Python: {reason}",
            fix="Use a Python with a shared libssl: `asgi-tls doctor` names some.",
        )
    return lib


def scratch() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


def _word(holder: object, index: int) -> int | None:
    return ctypes.c_void_p.from_address(id(holder) + _HEAD + index * _WORD).value


def native(context: ssl.SSLContext, method: str, argument: str) -> bool:
    """Whether Python's own method exists and did it."""
    try:
        getattr(context, method)(argument)
    except (AttributeError, NotImplementedError, ValueError, ssl.SSLError):
        return False
    return True
