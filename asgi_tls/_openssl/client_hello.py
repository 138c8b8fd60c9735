"""The ClientHello, read before OpenSSL chooses a group from it."""

from __future__ import annotations

import functools
import ssl
import struct
import threading
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from asgi_tls._openssl.groups import SSL_CTRL_SET_GROUPS_LIST, keeps_order
from asgi_tls._openssl.library import HelloFunction, kept_alive, reach
from asgi_tls.profile import GROUPS, TLS13_GROUPS

# Extension numbers (IANA, TLS ExtensionType Values), and openssl/ssl.h, stable since 1.1.1.
_SUPPORTED_GROUPS: Final = 10
_SUPPORTED_VERSIONS: Final = 43
_TLS_1_3: Final = 0x0304
_SSL_CLIENT_HELLO_SUCCESS: Final = 1


class Handshake(Protocol):
    """What the callback sets on the object that stands for a handshake in Python.

    `tls_group` is the only one that the connection may use. `tls_widen`, where there is one, gives it all groups back:
    it is to be called in the SNI callback, when OpenSSL has read the client's key shares.
    """

    tls_group: str | None
    tls_widen: Callable[[], object] | None


class _Current(threading.local):
    handshake: Handshake | None = None


current: Final = _Current()
"""Its `handshake` is set during a call in which libssl may read the ClientHello of that handshake."""


def prefer_own_groups(context: ssl.SSLContext, groups: Iterable[str], *, client_auth: bool) -> None:
    """Let the server's order of groups decide, for TLS 1.2 and 1.3 alike.

    OpenSSL before 3.5 takes the first key share that it can use, so the client's guess wins, and any version lets the
    client's order decide in TLS 1.2. Here the ClientHello is read first, and the connection is left with one
    group: the first of ours that the client supports in the version that will be spoken. If the client sent no share
    for it, OpenSSL asks for one (HelloRetryRequest, RFC 8446 section 4.1.4).

    With `client_auth`, a TLS 1.2 client keeps all groups, because OpenSSL checks the curve of its certificate against
    them as well; there the server's order decides, of suites too.

    The versions of `context` must be set before. Raises UnsupportedError.
    """
    groups = tuple(groups)
    old, new = (context.minimum_version <= ssl.TLSVersion.TLSv1_2), (context.maximum_version >= ssl.TLSVersion.TLSv1_3)
    if len(groups) > 1 and (old or not keeps_order()):
        lib = reach()
        lib.SSL_CTX_set_client_hello_cb(lib.context(context), _hello_callback(groups, client_auth, old, new), None)


@functools.cache
def _hello_callback(groups: tuple[str, ...], client_auth: bool, old: bool, new: bool) -> Any:
    """The callback for one policy; `old` says that it speaks TLS 1.2, `new` TLS 1.3.

    Two threads may make one each; the cache keeps the later, hence the list.
    """
    lib = reach()
    every = [(name, GROUPS[name][1], name.encode("ascii")) for name in groups]
    of_old = [each for each in every if each[0] not in TLS13_GROUPS]
    every_name = ":".join(groups).encode("ascii")
    native = keeps_order()
    version_matters = native or client_auth or len(of_old) < len(every)

    def speaks_new(connection: int) -> bool:
        return new and (not old or _TLS_1_3 in _numbers(lib.extension(connection, _SUPPORTED_VERSIONS), behind=1))

    def on_hello(connection: int, _alert: int, _argument: int) -> int:
        is_new = speaks_new(connection) if version_matters else None
        if is_new is False and client_auth:
            lib.SSL_set_options(connection, int(ssl.OP_CIPHER_SERVER_PREFERENCE))
        elif not (is_new and native):
            narrow(connection, is_new)
        return _SSL_CLIENT_HELLO_SUCCESS

    def narrow(connection: int, is_new: bool | None) -> None:
        offered = _numbers(lib.extension(connection, _SUPPORTED_GROUPS), behind=2)
        choice = next((each for each in (of_old if is_new is False else every) if each[1] in offered), None)
        if choice is None:
            return  # OpenSSL answers with the alert that the RFC asks for
        name, _, encoded = choice
        lib.SSL_ctrl(connection, SSL_CTRL_SET_GROUPS_LIST, 0, encoded)
        handshake = current.handshake
        if handshake is None:
            return
        handshake.tls_group = name
        # EncryptedExtensions lists the groups (RFC 8446 section 4.2.7) where the client does not use our first one.
        if name != groups[0] and (is_new or (is_new is None and speaks_new(connection))):
            handshake.tls_widen = functools.partial(lib.SSL_ctrl, connection, SSL_CTRL_SET_GROUPS_LIST, 0, every_name)

    kept_alive.append(function := HelloFunction(on_hello))
    return function


def _numbers(vector: bytes, *, behind: int) -> tuple[int, ...]:
    """The two-byte numbers of a list that begins behind a length of so many bytes."""
    return struct.unpack_from(f"!{max(len(vector) - behind, 0) // 2}H", vector, min(behind, len(vector)))
