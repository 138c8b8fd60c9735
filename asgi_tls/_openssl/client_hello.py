"""The ClientHello, looked at before OpenSSL chooses a group from it."""

from __future__ import annotations

import functools
import ssl
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any, Final, Protocol

from asgi_tls._openssl.groups import SSL_CTRL_SET_GROUPS_LIST
from asgi_tls._openssl.library import HelloFunction, LibSSL, reach
from asgi_tls.profile import GROUPS

# openssl/ssl.h and openssl/tls1.h: stable since 1.1.1.
_TLSEXT_TYPE_SUPPORTED_GROUPS: Final = 10
_TLSEXT_TYPE_SUPPORTED_VERSIONS: Final = 43
_TLS_1_3: Final = b"\x03\x04"
_SSL_CLIENT_HELLO_SUCCESS: Final = 1

# How many different supported_groups extensions to remember. One site's clients send a handful.
_REMEMBERED: Final = 8


class Handshake(Protocol):
    """What a callback of libssl needs of the object that Python knows a handshake by.

    `hello` is what the client sent first, while libssl reads it and no longer. `group` is what it was left with.
    """

    hello: bytes
    group: str | None


current_handshake: Final[ContextVar[Handshake | None]] = ContextVar("asgi_tls.handshake", default=None)
"""The handshake that libssl is being called for. May hold an earlier one, whose `hello` is empty by then."""


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


@functools.cache
def _hello_callback(groups: tuple[str, ...], client_auth: bool) -> Any:
    """The callback for one order of groups. Cached for good: libssl may call it as long as the process lives."""
    lib = reach()
    choices = _Choices(lib, groups)

    def on_hello(connection: int, _alert: int, _argument: int) -> int:
        if client_auth and _TLS_1_3 not in _pairs(lib.extension(connection, _TLSEXT_TYPE_SUPPORTED_VERSIONS), 1):
            lib.SSL_set_options(connection, int(ssl.OP_CIPHER_SERVER_PREFERENCE))
            return _SSL_CLIENT_HELLO_SUCCESS
        handshake = current_handshake.get()
        if handshake is None or not handshake.hello:
            choice = choices.read(connection)
        else:
            choice = choices.find(connection, handshake.hello)
            handshake.group = choice and choice[0]
        # No group in common is left to OpenSSL, which answers with the alert that the RFC asks for.
        if choice is not None:
            lib.SSL_ctrl(connection, SSL_CTRL_SET_GROUPS_LIST, 0, choice[1])
        return _SSL_CLIENT_HELLO_SUCCESS

    return HelloFunction(on_hello)


class _Choices:
    """The group for a client: its name, as text and as libssl wants it; None where there is none in common."""

    def __init__(self, lib: LibSSL, groups: tuple[str, ...]) -> None:
        self._lib = lib
        self._own = [(GROUPS[name][1].to_bytes(2), (name, name.encode("ascii"))) for name in groups]
        self._known: dict[bytes, tuple[str, bytes]] = {}  # by whole extensions, as they stand in a ClientHello

    def find(self, connection: int, hello: bytes) -> tuple[str, bytes] | None:
        """By the bytes that have come from the client, which may be a part of its ClientHello only.

        Asking libssl takes ten times as long as looking for what other clients have sent. Where the same bytes stand
        in another place of a ClientHello, its client has put them there: at worst its own handshake fails.
        """
        for extension in self._known:
            if extension in hello:
                return self._known[extension]
        return self.read(connection)

    def read(self, connection: int) -> tuple[str, bytes] | None:
        """By the extension (RFC 8446 section 4.2.7): a length of two bytes, then two bytes for each group."""
        extension = self._lib.extension(connection, _TLSEXT_TYPE_SUPPORTED_GROUPS)
        offered = _pairs(extension, 2)
        choice = next((choice for number, choice in self._own if number in offered), None)
        if choice is not None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[_TLSEXT_TYPE_SUPPORTED_GROUPS.to_bytes(2) + len(extension).to_bytes(2) + extension] = choice
        return choice


def _pairs(extension: bytes, start: int) -> set[bytes]:
    """The two-byte numbers of a list that begins behind a length of `start` bytes."""
    return {extension[at : at + 2] for at in range(start, len(extension) - 1, 2)}
