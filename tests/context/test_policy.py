"""A profile on a context of `ssl` alone: what is set, what is reported as out of reach, and what may be left out."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import replace

import out_of_reach
import pytest
from files import Files

from asgi_tls import INTERMEDIATE, MODERN, ServerTLS, _openssl, create_client_context
from asgi_tls.context.policy import apply_profile, enforce, enforceable
from asgi_tls.errors import UnsupportedError

KEEPS_ORDER = ssl.OPENSSL_VERSION_INFO >= (3, 5)
OLD = replace(INTERMEDIATE, name="old", maximum_version="TLSv1.2", ciphersuites=())


@pytest.mark.parametrize("protocol", [ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT])
def test_options(protocol: int) -> None:
    context = ssl.SSLContext(protocol)
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    context.options &= ~ssl.OP_NO_COMPRESSION
    apply_profile(context, INTERMEDIATE, allow_unsupported=True)
    assert context.options & ssl.OP_NO_COMPRESSION
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert not context.options & ssl.OP_CIPHER_SERVER_PREFERENCE


def test_what_python_sets_by_itself_stays(files: Files) -> None:
    """Such as workarounds for broken clients, and trusted certificates first."""
    (files.directory / "crl.pem").write_bytes(files.pki.crl(files.pki.root))
    server = ServerTLS(files.ecdsa, client_ca=files.ca, client_crl=files.directory / "crl.pem").create_context()
    for protocol, ours in ((ssl.PROTOCOL_TLS_SERVER, server), (ssl.PROTOCOL_TLS_CLIENT, create_client_context())):
        plain = ssl.SSLContext(protocol)
        assert ours.options & plain.options == plain.options & ~ssl.OP_CIPHER_SERVER_PREFERENCE
        assert ours.verify_flags & plain.verify_flags == plain.verify_flags


@pytest.mark.parametrize(
    ("methods", "server", "client"),
    [
        ((), (), ()),
        (("set_groups",), ("old, one group",), ("old", "old, one group")),
        (("set_ciphersuites",), (), ()),
        (("set_groups", "set_ciphersuites"), ("one group", "old, one group"),
         ("intermediate", "one group", "old", "old, one group")),
    ],
)  # fmt: skip
def test_what_a_python_with_methods_of_its_own_can_set(
    monkeypatch: pytest.MonkeyPatch, methods: Sequence[str], server: Sequence[str], client: Sequence[str]
) -> None:
    """As from 3.15 on. Without libssl, a server keeps an order of groups by OpenSSL 3.5 only."""
    profiles = {
        "intermediate": INTERMEDIATE,
        "one group": MODERN.with_groups("X25519"),
        "old": OLD,
        "old, one group": OLD.with_groups("P-256"),
    }
    for name in ("set_groups", "set_ciphersuites"):
        if name in methods:
            monkeypatch.setattr(ssl.SSLContext, name, lambda _self, _names: None, raising=False)
        elif hasattr(ssl.SSLContext, name):
            pytest.skip(f"this Python has {name}")
    with out_of_reach.here():
        assert [name for name, each in profiles.items() if enforceable(each, server=False)] == [*client]
        assert [name for name, each in profiles.items() if enforceable(each, server=True)] == [
            *(client if KEEPS_ORDER else server)
        ]


def test_what_openssl_refuses_is_left_out_only_where_that_is_allowed() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    assert enforce(_openssl.set_groups, context, ["X25519"], allow_unsupported=False) == []
    with pytest.raises(UnsupportedError, match="refused the groups X25518"):
        enforce(_openssl.set_groups, context, ["X25518"], allow_unsupported=False)
    (note,) = enforce(_openssl.set_groups, context, ["X25518"], allow_unsupported=True)
    assert note.code == "unsupported"
    assert "refused the groups X25518" in note
