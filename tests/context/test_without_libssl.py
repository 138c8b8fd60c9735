"""Where libssl cannot be called: what is proven of a context, what may stay, and who may resume."""

from __future__ import annotations

import contextlib
import gc
import logging
import ssl
from collections.abc import Iterator
from dataclasses import replace

import out_of_reach
import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from files import Files
from handshakes import client
from memory import handshake
from pki import PKI

from asgi_tls import INTERMEDIATE, MODERN, TLSProfile, _openssl, create_client_context
from asgi_tls.context.server_context import ClientAuth, ServerContext
from asgi_tls.errors import UnsupportedError

ONE_GROUP = MODERN.with_groups("X25519")
EXTRA = "it also allows the groups "


@pytest.fixture(autouse=True)
def out_of_reach_here() -> Iterator[None]:
    if "native" in {_openssl.capabilities().groups, _openssl.capabilities().ciphersuites}:
        pytest.skip("this Python sets both by itself")
    with out_of_reach.here():
        yield


def served(files: Files, profile: TLSProfile, name: str = "default", **settings: bool) -> ServerContext:
    context = ServerContext(profile, **settings)  # type: ignore[arg-type]
    context.use({name: [files.wildcard.load()]})
    return context


@pytest.mark.parametrize("name", ["default", "*.example.org"])
def test_what_nobody_chose_is_served_with_a_note_on_each_difference(files: Files, name: str) -> None:
    """The proof asks for a name that has a certificate: without one, everything would seem to be refused."""
    context = served(files, INTERMEDIATE, name)
    (found,) = [note for note in context.notes if "cannot apply all of profile intermediate" in note]
    assert found.code == "unsupported"
    assert EXTRA in found
    assert "does not allow" not in found
    before = list(context.notes)
    context.use({name: [files.wildcard.load()]})
    assert context.notes == before  # it is proven once


def test_what_was_chosen_is_refused_unless_that_is_allowed(files: Files) -> None:
    with pytest.raises(UnsupportedError, match=EXTRA):
        served(files, ONE_GROUP)
    assert EXTRA in served(files, ONE_GROUP, allow_unsupported=True).notes[-1]


def test_a_client_is_proven_likewise(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(UnsupportedError, match=EXTRA):
        create_client_context(cafile=files.ca, profile=ONE_GROUP)
    named = replace(ONE_GROUP, name="one-group")  # a client says each thing once
    with caplog.at_level(logging.WARNING, "asgi_tls"):
        create_client_context(cafile=files.ca, profile=named, allow_unsupported=True)
    (said,) = caplog.messages
    assert "cannot apply all of profile one-group" in said
    assert EXTRA in said


def test_what_is_lost_is_said_by_the_versions_of_the_profile() -> None:
    ours, modern = (ServerContext(profile).notes[-1] for profile in (INTERMEDIATE, MODERN))
    assert ours.code == modern.code == "libssl"
    for note in (ours, modern):
        assert note.startswith("Without libssl there is no OCSP stapling, no resumption at another worker")
        assert "another has another layout of SSL objects" in note
    assert "in TLS 1.2 the client's order of groups" in ours
    assert "TLS 1.2" not in modern


def test_no_response_is_looked_for(files: Files) -> None:
    context = ServerContext(INTERMEDIATE, find_staple=lambda _: b"response")
    context.use({"default": [files.ecdsa.load()]})
    handshake(context.ssl_context, client())


def test_with_client_certificates_there_are_no_tickets(files: Files) -> None:
    kinds: tuple[ClientAuth | None, ...] = (None, "optional")
    for how in kinds:
        context = ServerContext(INTERMEDIATE, client_auth=how)
        context.use({"default": [files.ecdsa.load()]}, client_ca=files.ca_text)
        session = handshake(context.ssl_context, client(maximum=ssl.TLSVersion.TLSv1_2)).client.session
        assert session is not None
        assert session.has_ticket is (how is None)


def test_a_session_ends_with_the_trust_that_it_began_under(
    files: Files, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """OpenSSL's own cache cannot be emptied: the client is refused, loses its session, and may connect again."""
    pair = files.pki.leaf("c.example", eku=(ExtendedKeyUsageOID.CLIENT_AUTH,))
    visitor = client(maximum=ssl.TLSVersion.TLSv1_2)
    visitor.load_cert_chain(*pair.write(tmp_path_factory.mktemp("visitor")))
    session: ssl.SSLSession | None = None

    def visit() -> str:
        nonlocal session
        try:
            ends = handshake(context.ssl_context, visitor, session=session)
        except ssl.SSLError:
            gc.collect()  # what is left of the connection: with it goes its session in the cache
            return "refused"
        session = ends.client.session
        with contextlib.suppress(ssl.SSLWantReadError):
            ends.server.unwrap()
        return "resumed" if ends.client.session_reused else "new"

    context = ServerContext(INTERMEDIATE, client_auth="required")
    certificates = {"default": [files.ecdsa.load()]}
    context.use(certificates, client_ca=files.ca_text)
    assert [visit(), visit()] == ["new", "resumed"]
    context.use(certificates, client_ca=files.ca_text)  # the same trust again
    assert visit() == "resumed"
    context.use(certificates, client_ca=files.ca_text + PKI("New").root_pem.decode())
    assert [visit(), visit()] == ["refused", "new"]
