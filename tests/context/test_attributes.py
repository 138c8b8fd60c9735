"""Our subclasses of the standard library's classes: no attribute of ours may hide one of theirs, now or later."""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import pkgutil
import socket
import ssl

import pytest
from files import Files
from handshakes import client
from memory import handshake

import asgi_tls
from asgi_tls import ServerTLS

THEIRS = (ssl.SSLContext, ssl.SSLObject, ssl.SSLSocket, socket.socket, ssl.MemoryBIO)
PREFIXES = ("tls_", "_tls_", "peer_", "_aiofastnet_")
# What ssl and socket have beyond Python 3.11, up to 3.15.
LATER = {
    ssl.SSLContext: {
        "get_groups", "set_ciphersuites", "set_client_sigalgs", "set_groups", "set_psk_client_callback",
        "set_psk_server_callback", "set_server_sigalgs",
    },
    ssl.SSLObject: {"client_sigalg", "get_unverified_chain", "get_verified_chain", "group", "server_sigalg"},
    ssl.SSLSocket: {"client_sigalg", "get_unverified_chain", "get_verified_chain", "group", "server_sigalg"},
    socket.socket: {"_sendfile_zerocopy"},
}  # fmt: skip
# What is overridden on purpose, to the same effect but for what its docstring says.
OVERRIDDEN = {
    "HandshakeContext": {"options", "wrap_bio", "wrap_socket"},
    "_VerifyingContext": {"check_hostname", "verify_mode"},
    "TLSObject": {"do_handshake", "getpeercert", "read", "unwrap"},
    "TLSSocket": {"close", "do_handshake", "shutdown"},
    "Peer": {"family", "type"},
}


NAMES = sorted({*OVERRIDDEN, "CertifiedContext", "TrustedObject", "TrustedSocket"})


@functools.cache
def subclasses() -> list[type]:
    """Every class of the package that has one of theirs as its base."""
    for module in pkgutil.walk_packages(asgi_tls.__path__, "asgi_tls."):
        if not {"__main__", "_demo_app"} & {*module.name.split(".")}:
            with contextlib.suppress(ImportError):  # the package of an extra is not there
                importlib.import_module(module.name)
    found: list[type] = []
    waiting: list[type] = [*THEIRS]
    while waiting:
        below: list[type] = waiting.pop().__subclasses__()
        for each in below:
            if each.__module__.startswith("asgi_tls.") and each not in found:
                found.append(each)
            waiting.append(each)
    return found


def test_the_subclasses_are_those_that_are_known() -> None:
    assert {*NAMES} == {each.__name__ for each in subclasses()}


@pytest.mark.parametrize("name", NAMES)
def test_no_attribute_hides_one_of_the_standard_library(name: str) -> None:
    (kind,) = (each for each in subclasses() if each.__name__ == name)
    own = {*vars(kind), *inspect.get_annotations(kind)}
    own = {name for name in own if not (name.startswith("__") and name.endswith("__"))}
    overridden = OVERRIDDEN.get(name, set())
    theirs = {name for each in THEIRS if issubclass(kind, each) for name in (*dir(each), *LATER.get(each, ()))}
    assert overridden <= own
    assert overridden <= theirs
    assert not (own - overridden) & theirs
    # Nor what a later version may add: it begins with none of these.
    assert not {name for name in own - overridden if not name.startswith(PREFIXES)}
    assert not {name for name in theirs if name.startswith(PREFIXES)}


def test_no_attribute_that_is_set_later_does_either(files: Files) -> None:
    ends = handshake(ServerTLS(files.ecdsa).create_context(alpn=["h2"]), client(alpn=["h2"]))
    assert ends.server.tls_connection is not None  # type: ignore[attr-defined]  # it is kept on the object
    plain = {*vars(ends.client), *vars(ssl.create_default_context())}
    set_later = {*vars(ends.server), *vars(ends.server.context)} - plain
    assert set_later
    assert not {name for name in set_later if not name.startswith(PREFIXES)}
