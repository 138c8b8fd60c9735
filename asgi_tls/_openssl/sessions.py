"""What a client may resume: OpenSSL's ticket keys, its cache and lifetimes, which the standard library cannot set."""

from __future__ import annotations

import ctypes
import os
import ssl
import weakref
from collections.abc import Sequence
from typing import Final

from asgi_tls._openssl.library import LibSSL, TicketKeyFunction, kept_alive, reach
from asgi_tls.errors import UnsupportedError

# openssl/tls1.h and openssl/ssl.h: stable since 1.1.1.
_SSL_CTRL_SET_SESS_CACHE_SIZE: Final = 42
_SSL_CTRL_SET_SESS_CACHE_MODE: Final = 44
_SSL_SESS_CACHE_OFF: Final = 0
_SSL_SESS_CACHE_SERVER: Final = 2
_SSL_CTRL_SET_TICKET_KEYS: Final = 59

_NAME: Final = slice(0, 16)
_MAC_KEY: Final = slice(16, 48)
_CIPHER_KEY: Final = slice(48, 80)

_TLS_1_3: Final = 0x0304

# SSL_CTX_set_tlsext_ticket_key_evp_cb(3): what the callback may answer.
_FAILED, _NO_SUCH_KEY, _DONE, _RENEW = -1, 0, 1, 2


def limit_sessions(context: ssl.SSLContext, seconds: float, cached: int) -> None:
    """Limit the lifetime of sessions, and how many are cached: those of TLS 1.2 clients that take no tickets.

    OpenSSL drops the oldest of more than `cached`. 0 turns the cache off.

    Raises UnsupportedError.
    """
    lib = reach()
    pointer = lib.context(context)
    mode = _SSL_SESS_CACHE_SERVER if cached else _SSL_SESS_CACHE_OFF
    lib.SSL_CTX_ctrl(pointer, _SSL_CTRL_SET_SESS_CACHE_SIZE, cached, None)  # 0 would mean no limit
    lib.SSL_CTX_ctrl(pointer, _SSL_CTRL_SET_SESS_CACHE_MODE, mode, None)
    lib.SSL_CTX_set_timeout(pointer, max(1, int(seconds)))  # 0 would mean OpenSSL's own


def forget_sessions(context: ssl.SSLContext) -> None:
    """Empty the cache. Raises UnsupportedError."""
    lib = reach()
    lib.flush_sessions(lib.context(context), 0)  # 0: all, however young


def set_ticket_keys(context: ssl.SSLContext, current: bytes, also: Sequence[bytes], *, threaded: bool) -> None:
    """Encrypt tickets with the key `current`, accept those of `also` too, and no others. A key has 80 bytes.

    OpenSSL itself stores one key. For more it has to call back for each ticket, which takes 8 us in Python: the
    callback is set only while there are more.

    `threaded` says that other threads may make handshakes meanwhile. OpenSSL copies its own key without a lock, and a
    ticket that meets half of a key may fail the handshake (tested). So the callback is always set then: it takes a
    whole key.

    OpenSSL before 3.0 has no such callback, and accepts `current` alone.

    Raises UnsupportedError.
    """
    lib = reach()
    pointer = lib.context(context)
    ring = _rings.get(context)
    if lib.has_ticket_callback and (also or threaded):
        if ring is None:
            ring = _rings[context] = _Ring(lib)
            weakref.finalize(context, ring.clear)
        ring.fill(current, also)
        lib.SSL_CTX_set_tlsext_ticket_key_evp_cb(pointer, ring.function)
        return
    if lib.SSL_CTX_ctrl(pointer, _SSL_CTRL_SET_TICKET_KEYS, len(current), current) != 1:
        raise UnsupportedError("OpenSSL refused new ticket keys", fix="See `asgi-tls doctor`.")
    if ring is not None:
        lib.SSL_CTX_set_tlsext_ticket_key_evp_cb(pointer, TicketKeyFunction())
        ring.clear()


class _Ring:
    """Several keys, and the callback that takes one of them for each ticket."""

    def __init__(self, lib: LibSSL) -> None:
        self._lib = lib
        self._aes, self._urandom = lib.EVP_aes_256_cbc(), os.urandom
        self._keys: dict[bytes, _Key] = {}
        self.clear()
        self.function = TicketKeyFunction(self._answer)
        kept_alive.append(self.function)

    def fill(self, current: bytes, also: Sequence[bytes]) -> None:
        key = _Key(current)
        # Two assignments: a ticket of the old key that is made between them is accepted all the same.
        self._keys = {each.name: each for each in (key, *map(_Key, also))}
        self._current = key

    def clear(self) -> None:
        """Forget the keys. A handshake that outlives its context gets a ticket that nothing accepts."""
        self._current, self._keys = _Key(self._urandom(80)), {}

    def _answer(self, connection: int, name: int, iv: int, cipher: int, mac: int, encrypting: int) -> int:
        lib, renew = self._lib, False
        if encrypting:
            key = self._current
            ctypes.memmove(name, key.name, 16)
            ctypes.memmove(iv, self._urandom(16), 16)
            done = lib.EVP_EncryptInit_ex(cipher, self._aes, None, key.cipher_key, iv)
        else:
            found = self._keys.get(ctypes.string_at(name, 16))
            if found is None:
                return _NO_SUCH_KEY
            key = found
            # Clients of TLS 1.3 use a ticket once (RFC 8446 appendix C.4), so each connection gets a new one.
            renew = key is not self._current or lib.SSL_version(connection) == _TLS_1_3
            done = lib.EVP_DecryptInit_ex(cipher, self._aes, None, key.cipher_key, iv)
        if done != 1 or lib.EVP_MAC_CTX_set_params(mac, key.mac) != 1:
            return _FAILED
        return _RENEW if renew else _DONE


class _Key:
    """One key as the callback needs it."""

    def __init__(self, keys: bytes) -> None:
        self.name, self.cipher_key = keys[_NAME], keys[_CIPHER_KEY]
        # OSSL_PARAM(3): these must live as long as the array that points at them.
        self._parts = ctypes.create_string_buffer(keys[_MAC_KEY], 32), ctypes.create_string_buffer(b"SHA256")
        key, digest = (ctypes.addressof(part) for part in self._parts)
        self._array = (_Parameter * 3)(
            _Parameter(b"key", _OCTETS, key, 32), _Parameter(b"digest", _TEXT, digest, 6), _Parameter()
        )
        self.mac = ctypes.addressof(self._array)


_TEXT, _OCTETS = 4, 5  # openssl/core.h


class _Parameter(ctypes.Structure):
    """OSSL_PARAM."""

    _fields_ = (
        ("key", ctypes.c_char_p),
        ("data_type", ctypes.c_uint),
        ("data", ctypes.c_void_p),
        ("data_size", ctypes.c_size_t),
        ("return_size", ctypes.c_size_t),
    )


_rings: Final[weakref.WeakKeyDictionary[ssl.SSLContext, _Ring]] = weakref.WeakKeyDictionary()
