"""What OpenSSL can do and the standard library cannot ask of it: groups, TLS 1.3 suites, the group in use.

The only place with ctypes. Python's own method is preferred where it has one (3.15). Otherwise libssl is called on the
SSL_CTX behind an `ssl.SSLContext`, after `_prove` has shown that we hold the right pointers into the right library.
Where it is out of reach, functions raise UnsupportedError, and `capabilities()` says why. It would break on a CPython
whose `PySSLContext` no longer starts with the SSL_CTX, or whose `PySSLSocket` no longer starts with `Socket, ssl, ctx`
(Modules/_ssl.c, the same from 3.11 to 3.15): `_prove` notices, and refuses.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import ssl
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from asgi_tls._group import chosen
from asgi_tls.errors import UnsupportedError
from asgi_tls.profile import GROUPS, group_name

# openssl/ssl.h and openssl/tls1.h: stable since 1.1.1.
_SSL_CTRL_SET_GROUPS_LIST: Final = 92
_GET_GROUP: Final = 134  # SSL_CTRL_GET_NEGOTIATED_GROUP
_TLSEXT_TYPE_SUPPORTED_GROUPS: Final = 10
_TLSEXT_TYPE_SUPPORTED_VERSIONS: Final = 43
_TLS_1_3: Final = b"\x03\x04"
_SSL_CLIENT_HELLO_SUCCESS: Final = 1

_WORD: Final = ctypes.sizeof(ctypes.c_void_p)
_HEAD: Final = object.__basicsize__

# How many different supported_groups extensions to remember: browsers and libraries send a few dozen.
_HELLOS_REMEMBERED: Final = 256


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What this process can set and read: how, in words, or None. `reason` says why libssl could not be reached."""

    groups: str | None
    ciphersuites: str | None
    group_order: str | None
    negotiated_group: str | None
    reason: str | None


@functools.cache
def capabilities() -> Capabilities:
    """Tried by calling, once per process: a method that is there may still refuse on an old OpenSSL."""
    lib, reason = _libssl()
    reached = None if lib is None else "libssl"
    native_groups = _native(_scratch(), "set_groups", "X25519")
    return Capabilities(
        groups="native" if native_groups else reached,
        ciphersuites="native" if _native(_scratch(), "set_ciphersuites", "TLS_AES_128_GCM_SHA256") else reached,
        group_order=reached,
        negotiated_group="native"
        if hasattr(ssl.SSLObject, "group") and ssl.OPENSSL_VERSION_INFO >= (3, 2)
        else reached,
        reason=reason,
    )


@functools.cache
def supported_groups() -> tuple[str, ...] | None:
    """The groups of the profile's table that this OpenSSL has, None where it cannot be asked."""
    if capabilities().groups is None:
        return None
    return tuple(name for name in GROUPS if _try_groups(_scratch(), name))


def set_groups(context: ssl.SSLContext, groups: Iterable[str]) -> None:
    """Offer and accept these groups only. Raises UnsupportedError: one unknown name fails the whole list."""
    names = ":".join(groups)
    if not _try_groups(context, names):
        raise UnsupportedError(
            f"OpenSSL refused the groups {names}",
            fix="See `asgi-tls doctor` for the groups that it has.",
        )


def set_ciphersuites(context: ssl.SSLContext, ciphersuites: Iterable[str]) -> None:
    """Offer and accept these TLS 1.3 suites only, and read them back. Raises UnsupportedError."""
    wanted = tuple(ciphersuites)
    names = ":".join(wanted)
    if not _native(context, "set_ciphersuites", names):
        lib = reach()
        lib.SSL_CTX_set_ciphersuites(lib.context(context), names.encode("ascii"))
    found = {cipher["name"] for cipher in context.get_ciphers() if cipher["protocol"] == "TLSv1.3"}
    if found != set(wanted):
        raise UnsupportedError(
            f"OpenSSL has {', '.join(sorted(found)) or 'no TLS 1.3 suite'} where {names} was asked for",
            fix="See `asgi-tls doctor` for what this OpenSSL can do.",
        )


def prefer_own_groups(context: ssl.SSLContext, groups: Iterable[str], *, client_auth: bool) -> None:
    """Let the server's order of groups decide, for TLS 1.2 and 1.3 alike.

    OpenSSL on its own takes the first key share that it can use, so the client's guess wins. Here the ClientHello is
    looked at first, and the connection is left with one group: the first of ours that the client supports. If the
    client sent no share for it, OpenSSL asks for one (HelloRetryRequest, RFC 8446 section 4.1.4).

    With `client_auth`, a TLS 1.2 client keeps all groups, because OpenSSL checks the curve of its certificate against
    them as well; there the server's order decides, of suites too.

    Raises UnsupportedError.
    """
    lib = reach()
    lib.SSL_CTX_set_client_hello_cb(lib.context(context), _hello_callback(tuple(groups), client_auth), None)


def negotiated_group(connection: ssl.SSLObject | ssl.SSLSocket) -> str | None:
    """The group of a finished handshake, in the profile's spelling; None where it cannot be read."""
    if connection.version() is None:
        return None  # before the handshake, libssl would follow a null pointer
    return (name := _group(connection)) and _spelling(name)


@functools.cache  # OpenSSL has a few dozen
def _spelling(name: str) -> str:
    with contextlib.suppress(ValueError):
        return group_name(name)
    return name


class _LibSSL(ctypes.PyDLL):
    """libssl with the signatures that are used here. PyDLL: each call is short, so the GIL is kept."""

    def __init__(self, path: str | None) -> None:
        super().__init__(path)
        pointer, text, integer = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
        declare: Callable[[str, Any, list[Any]], None] = self._declare
        declare("OpenSSL_version_num", ctypes.c_ulong, [])
        declare("SSL_CTX_get_options", ctypes.c_uint64, [pointer])
        declare("SSL_CTX_ctrl", ctypes.c_long, [pointer, integer, ctypes.c_long, text])
        declare("SSL_CTX_set_ciphersuites", integer, [pointer, text])
        declare("SSL_CTX_set_client_hello_cb", None, [pointer, _HelloFunction, pointer])
        declare("SSL_CTX_flush_sessions", None, [pointer, ctypes.c_long])
        declare("SSL_client_hello_get0_ext", integer, [pointer, ctypes.c_uint, pointer, pointer])
        declare("SSL_set_options", ctypes.c_uint64, [pointer, ctypes.c_uint64])
        declare("SSL_ctrl", ctypes.c_long, [pointer, integer, ctypes.c_long, text])
        declare("SSL_get_SSL_CTX", pointer, [pointer])
        self.group: Callable[[int], bytes | None] = lambda _: None  # looking up a missing symbol is slow: once
        if hasattr(self, "SSL_get0_group_name"):  # OpenSSL 3.2
            declare("SSL_get0_group_name", text, [pointer])
            self.group = self.SSL_get0_group_name
        elif hasattr(self, "SSL_group_to_name"):  # OpenSSL 3.0
            declare("SSL_group_to_name", text, [pointer, integer])
            self.group = lambda at: self.SSL_group_to_name(at, self.SSL_ctrl(at, _GET_GROUP, 0, None))

    def _declare(self, name: str, result: Any, arguments: list[Any]) -> None:
        function = getattr(self, name)
        function.restype, function.argtypes = result, arguments

    @staticmethod
    def context(context: ssl.SSLContext) -> int | None:
        """The SSL_CTX: the first field behind the object header."""
        return _word(context, 0)

    def connection(self, connection: ssl.SSLObject | ssl.SSLSocket) -> int | None:
        """The SSL, None where the object does not look as expected. Nothing is followed before it is checked."""
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
        """The body of one extension of the ClientHello that is being looked at, empty without it."""
        found = _PointerAndSize()
        address = ctypes.addressof(found)
        if self.SSL_client_hello_get0_ext(connection, number, address, address + _WORD):
            return ctypes.string_at(*found)
        return b""


_PointerAndSize = ctypes.c_size_t * 2  # one object for both, since this runs in each handshake
_HelloFunction = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


@functools.cache
def _libssl() -> tuple[_LibSSL | None, str | None]:
    """The libssl that `_ssl` uses, or why there is none."""
    if sys.implementation.name != "cpython":
        return None, f"{sys.implementation.name} keeps its SSL objects elsewhere than CPython"
    import _ssl

    # A Python with `_ssl` built in has no file for it; its own symbols may still be visible.
    path = getattr(_ssl, "__file__", None)
    try:
        lib = _LibSSL(path)
    except (OSError, AttributeError):
        return None, f"{path or sys.executable} does not export libssl: it is linked statically"
    problem = _prove(lib)
    return (None, problem) if problem else (lib, None)


def _prove(lib: _LibSSL) -> str | None:
    """What is wrong with our pointers; None when each check agrees with what `ssl` says."""
    if lib.OpenSSL_version_num() != ssl.OPENSSL_VERSION_NUMBER:
        return "the libssl that was found is another version than the one that `ssl` uses"
    context = _scratch()
    # This goes through checked fields only, and ends at the SSL_CTX by a second way.
    if lib.connection(context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)) is None:
        return "this Python lays out its SSL objects in a way that is not known here"
    for option in (ssl.Options(0), ssl.OP_NO_TICKET):
        context.options ^= option
        if (lib.SSL_CTX_get_options(lib.context(context)) ^ context.options) & 0xFFFFFFFF:
            return "libssl reports other options than `ssl` for the same context"
    return None


def reach() -> _LibSSL:
    lib, reason = _libssl()
    if lib is None:
        raise UnsupportedError(
            f"libssl cannot be reached from Python: {reason}",
            fix="Use a Python that links OpenSSL dynamically (python.org, Debian, Docker's python images, pyenv).",
        )
    return lib


def _scratch() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


def _word(holder: object, index: int) -> int | None:
    return ctypes.c_void_p.from_address(id(holder) + _HEAD + index * _WORD).value


def _native(context: ssl.SSLContext, method: str, argument: str) -> bool:
    """Whether Python's own method exists and did it."""
    try:
        getattr(context, method)(argument)
    except (AttributeError, NotImplementedError, ValueError, ssl.SSLError):
        return False
    return True


def _try_groups(context: ssl.SSLContext, names: str) -> bool:
    if _native(context, "set_groups", names):
        return True
    lib = reach()
    done = lib.SSL_CTX_ctrl(lib.context(context), _SSL_CTRL_SET_GROUPS_LIST, 0, names.encode("ascii"))
    return bool(done == 1)


def _group(connection: ssl.SSLObject | ssl.SSLSocket) -> str | None:
    if capabilities().negotiated_group == "native":
        name: str | None = connection.group()  # type: ignore[union-attr]  # Python 3.15
        return name
    lib, _ = _libssl()
    raw = lib.group(pointer) if lib and (pointer := lib.connection(connection)) else None
    return raw.decode("ascii") if raw else None


@functools.cache
def _hello_callback(groups: tuple[str, ...], client_auth: bool) -> Any:
    """The callback for one order of groups. Cached for good: libssl may call it as long as the process lives."""
    lib = reach()
    own = [(GROUPS[name][1].to_bytes(2), name.encode("ascii")) for name in groups]
    choices: dict[bytes, bytes | None] = {}

    def choose(extension: bytes) -> bytes | None:
        # RFC 8446 section 4.2.7: a length of two bytes, then a number of two bytes for each group.
        offered = _pairs(extension, 2)
        if len(choices) >= _HELLOS_REMEMBERED:
            choices.clear()
        choice = next((name for number, name in own if number in offered), None)
        choices[extension] = choice
        return choice

    def on_hello(connection: int, _alert: int, _argument: int) -> int:
        if client_auth and _TLS_1_3 not in _pairs(lib.extension(connection, _TLSEXT_TYPE_SUPPORTED_VERSIONS), 1):
            lib.SSL_set_options(connection, int(ssl.OP_CIPHER_SERVER_PREFERENCE))
            return _SSL_CLIENT_HELLO_SUCCESS
        extension = lib.extension(connection, _TLSEXT_TYPE_SUPPORTED_GROUPS)
        choice = choices[extension] if extension in choices else choose(extension)
        # No group in common is left to OpenSSL, which answers with the alert that the RFC asks for.
        if choice is not None:
            chosen.set(choice)
            lib.SSL_ctrl(connection, _SSL_CTRL_SET_GROUPS_LIST, 0, choice)
        return _SSL_CLIENT_HELLO_SUCCESS

    return _HelloFunction(on_hello)


def _pairs(extension: bytes, start: int) -> set[bytes]:
    """The two-byte numbers of a list that begins behind a length of `start` bytes."""
    return {extension[at : at + 2] for at in range(start, len(extension) - 1, 2)}
