"""Groups of the key exchange: which may be used, and which one was."""

from __future__ import annotations

import contextlib
import functools
import ssl
from collections.abc import Iterable
from typing import Final

from asgi_tls._openssl.library import libssl, native, reach, scratch
from asgi_tls.errors import UnsupportedError
from asgi_tls.profile import GROUPS, TLS13_GROUPS, group_name

SSL_CTRL_SET_GROUPS_LIST: Final = 92  # openssl/ssl.h


@functools.cache
def setting_groups() -> str | None:
    """How groups can be set: "native", "libssl" or not at all. Python's own method may be there and not work."""
    if native(scratch(), "set_groups", "X25519"):
        return "native"
    return "libssl" if libssl()[0] else None


@functools.cache
def reading_group() -> str | None:
    """How the group of a handshake can be read, likewise."""
    if hasattr(ssl.SSLObject, "group") and ssl.OPENSSL_VERSION_INFO >= (3, 2):
        return "native"
    return "libssl" if libssl()[0] else None


@functools.cache
def supported_groups() -> tuple[str, ...]:
    """The groups of the profile's table that this OpenSSL has; judged by its version, where it cannot be asked."""
    if setting_groups() is None:
        return tuple(name for name in GROUPS if name not in TLS13_GROUPS or ssl.OPENSSL_VERSION_INFO >= (3, 5))
    return tuple(name for name in GROUPS if _set(scratch(), name))


def keeps_order() -> bool:
    """Whether OpenSSL itself keeps a server's order of groups in TLS 1.3, by tuples of one group each (from 3.5 on).

    Of each tuple in turn, a server takes what the client has sent a key share for, else asks for one
    (SSL_CTX_set1_groups_list(3)).
    """
    return ssl.OPENSSL_VERSION_INFO >= (3, 5)


def group_list(groups: Iterable[str]) -> str:
    """A server's groups as this OpenSSL reads them, in tuples where it knows tuples."""
    return ("/" if keeps_order() else ":").join(groups)


def set_groups(context: ssl.SSLContext, groups: Iterable[str]) -> None:
    """Offer and accept these groups only. Raises UnsupportedError: one unknown name fails the whole list."""
    names = group_list(groups) if context.protocol is ssl.PROTOCOL_TLS_SERVER else ":".join(groups)
    if not _set(context, names):
        raise UnsupportedError(
            f"OpenSSL refused the groups {names}",
            fix="See `asgi-tls doctor` for the groups that it has.",
        )


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


def _set(context: ssl.SSLContext, names: str) -> bool:
    if setting_groups() == "native":
        return native(context, "set_groups", names)
    lib = reach()
    done = lib.SSL_CTX_ctrl(lib.context(context), SSL_CTRL_SET_GROUPS_LIST, 0, names.encode("ascii"))
    return bool(done == 1)


def _group(connection: ssl.SSLObject | ssl.SSLSocket) -> str | None:
    if reading_group() == "native":
        name: str | None = connection.group()  # type: ignore[union-attr]  # Python 3.15
        return name
    lib, _ = libssl()
    raw = lib.group(pointer) if lib and (pointer := lib.connection(connection)) else None
    return raw.decode("ascii") if raw else None
