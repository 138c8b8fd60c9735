"""What goes with the contexts of single names: the OCSP response, the address, and why a client was refused."""

from __future__ import annotations

import gc
import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.ocsp import OCSPResponseBuilder, OCSPResponseStatus
from cryptography.x509.oid import ExtendedKeyUsageOID
from exhausted import no_descriptor_left
from files import Files
from handshakes import client
from memory import handshake
from patience import PATIENCE
from pki import DAY, PKI
from staples import stapled

from asgi_tls import INTERMEDIATE, ServerTLS
from asgi_tls.certificate.challenges import ChallengePair, challenges
from asgi_tls.context.certified import CertifiedContext, Trust
from asgi_tls.context.server_context import ClientAuth, ServerContext
from asgi_tls.events import ClientErrorEvent, Event
from asgi_tls.handshake.challenge import PROTOCOL
from asgi_tls.handshake.ssl_object import TLSObject
from asgi_tls.renewal.acme.validation import challenge_pair

PENDING = "www.example.test"
NO_LIST, LIST_EXPIRED, SELF_SIGNED = 3, 12, 18  # X509_V_ERR_*


def test_the_response_is_that_of_the_certificate_that_was_chosen(files: Files) -> None:
    ecdsa, rsa, example = files.ecdsa.load(), files.rsa.load(), files.example.load()
    statuses = (OCSPResponseStatus.TRY_LATER, OCSPResponseStatus.INTERNAL_ERROR, OCSPResponseStatus.UNAUTHORIZED)
    responses = {
        certificate.fingerprint_sha256: OCSPResponseBuilder.build_unsuccessful(status).public_bytes(Encoding.DER)
        for certificate, status in zip((ecdsa, rsa, example), statuses, strict=True)
    }
    context = ServerContext(INTERMEDIATE, find_staple=responses.get)
    context.use({"default": [ecdsa, rsa], "www.example.com": [example]})
    gc.collect()  # what libssl calls lives on
    for certificate, name, suite in (
        (ecdsa, "localhost", "ECDHE-ECDSA-AES128-GCM-SHA256"),
        (rsa, "localhost", "ECDHE-RSA-AES128-GCM-SHA256"),
        (example, "www.example.com", "ECDHE-ECDSA-AES128-GCM-SHA256"),
    ):
        got = stapled(context.ssl_context, server_name=name, maximum=ssl.TLSVersion.TLSv1_2, ciphers=suite)
        assert got == responses[certificate.fingerprint_sha256]


def test_the_certificate_of_a_connection_is_known_where_there_is_one_only(files: Files) -> None:
    context = ServerContext(INTERMEDIATE)
    context.use({"default": [files.ecdsa.load(), files.rsa.load()], "www.example.com": [files.example.load()]})
    for name, leaf in (("localhost", None), ("www.example.com", files.example.load().leaf_der)):
        server = handshake(context.ssl_context, client(), server_name=name).server
        assert isinstance(server, TLSObject)
        assert server.tls_connection is not None
        assert server.tls_connection.server_certificate == leaf


def test_a_client_without_a_name_gets_the_certificate_of_its_address(files: Files) -> None:
    context = ServerContext(INTERMEDIATE)
    context.use({"default": [files.example.load()], "127.0.0.1": [files.ecdsa.load()]})
    visitor = client()
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor() as pool:
        raw = socket.create_connection(listener.getsockname(), timeout=60)
        there = pool.submit(lambda: context.ssl_context.wrap_socket(listener.accept()[0], server_side=True))
        with visitor.wrap_socket(raw) as secure, there.result(60):
            assert secure.getpeercert(binary_form=True) == files.ecdsa.load().leaf_der


def test_the_reason_names_the_ca_whose_list_is_missing_or_over(files: Files) -> None:
    pki = files.pki
    person = pki.leaf("person.example", eku=(ExtendedKeyUsageOID.CLIENT_AUTH,))
    chain = [person.der, pki.intermediate.der]
    over = pki.crl(pki.intermediate, ends=pki.now - DAY) + pki.crl(pki.root)
    for crls, named in ((over, "Intermediate"), (pki.crl(pki.intermediate), "Root")):
        context = CertifiedContext(ssl.PROTOCOL_TLS_SERVER)
        context.tls_trust = Trust(files.ca_text, crls.decode())
        for code in (NO_LIST, LIST_EXPIRED):
            assert context.tls_explain(code, chain) == f" (issuer CN=Tests {named})"
        assert context.tls_explain(SELF_SIGNED, chain) == ""
    whole = Trust(files.ca_text, (pki.crl(pki.intermediate) + pki.crl(pki.root)).decode())
    assert whole.explain(NO_LIST, chain) == ""
    assert Trust(files.ca_text).explain(NO_LIST, chain) == " (issuer CN=Tests Intermediate)"


@pytest.fixture
def pending() -> Iterator[None]:
    challenges.use_tls_alpn({PENDING: ChallengePair(*challenge_pair(PENDING, "token.thumbprint"))})
    yield
    challenges.use_tls_alpn({})


@pytest.mark.usefixtures("pending")
@pytest.mark.parametrize("alpn", [[PROTOCOL], ["http/1.1"]], ids=str)
def test_who_asks_for_a_name_that_is_not_served_is_reported_as_such(files: Files, alpn: list[str]) -> None:
    """A CA that validates a name, and any other client."""
    heard = SimpleQueue[ClientErrorEvent]()

    def listen(event: Event) -> None:
        if isinstance(event, ClientErrorEvent):
            heard.put(event)

    server = ServerTLS({"localhost": files.ecdsa}, listeners=[listen]).create_context()
    with pytest.raises(ssl.SSLError, match="(?i)unrecognized.name"):
        handshake(server, client(alpn=alpn), server_name="other.example.test")
    event = heard.get(timeout=PATIENCE)
    assert (event.code, event.sni) == ("UNRECOGNIZED_NAME", "other.example.test")


@pytest.mark.usefixtures("pending")
def test_a_ca_that_comes_while_no_descriptor_is_left(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    context = ServerContext(INTERMEDIATE)
    context.use({"default": [files.ecdsa.load()]})
    with no_descriptor_left(), pytest.raises(ssl.SSLError, match="(?i)internal.error"):
        handshake(context.ssl_context, client(alpn=[PROTOCOL]), server_name=PENDING)
    (said,) = caplog.messages
    assert said.startswith(f"no TLS context to validate the name '{PENDING}': ")
    with pytest.raises(ssl.SSLError, match="has validated a name"):  # the next time it gets what it came for
        handshake(context.ssl_context, client(alpn=[PROTOCOL]), server_name=PENDING)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_without_a_certificate_opens_no_server_that_requires_one(
    files: Files, version: ssl.TLSVersion
) -> None:
    """Of two servers with one secret and the same CAs."""

    def server(client_auth: ClientAuth) -> ssl.SSLContext:
        context = ServerContext(INTERMEDIATE, client_auth=client_auth)
        context.use({"default": [files.ecdsa.load()]}, client_ca=files.ca_text, ticket_secret=bytes(range(32)))
        return context.ssl_context

    visitor = client(minimum=version, maximum=version)
    session = handshake(server("optional"), visitor).client.session
    assert handshake(server("optional"), visitor, session=session).client.session_reused
    with pytest.raises(ssl.SSLError, match="(?i)certificate.required|handshake.failure"):
        handshake(server("required"), visitor, session=session)


def test_a_session_opens_no_server_with_other_cas_or_lists(files: Files, tmp_path: Path) -> None:
    """Of servers with one secret."""
    pki, visitor = files.pki, client()
    person = pki.leaf("person.example", eku=(ExtendedKeyUsageOID.CLIENT_AUTH,))
    visitor.load_cert_chain(*person.write(tmp_path))

    root = pki.crl(pki.root)  # a new signature would make it another list
    lists, revoked = (pki.crl(pki.intermediate, *those) + root for those in ((), (person,)))

    def server(ca: bytes, crls: bytes) -> ssl.SSLContext:
        context = ServerContext(INTERMEDIATE, client_auth="required", check_crl=True)
        certificates = {"default": [files.ecdsa.load()]}
        context.use(certificates, client_ca=ca.decode(), client_crl=crls.decode(), ticket_secret=bytes(range(32)))
        return context.ssl_context

    session = handshake(server(pki.root_pem, lists), visitor).client.session
    assert handshake(server(pki.root_pem, lists), visitor, session=session).client.session_reused
    for other, says in (
        (server(PKI("Other").root_pem, lists), "unknown.ca"),
        (server(pki.root_pem, revoked), "revoked"),
    ):
        with pytest.raises(ssl.SSLError, match=f"(?i){says}"):
            handshake(other, visitor, session=session)


def test_the_keys_of_tickets_are_locked_where_threads_may_shake_hands() -> None:
    for context, locked in ((ServerContext(INTERMEDIATE), True), (ServerContext(INTERMEDIATE, threaded=False), False)):
        assert context.resumption is not None
        assert context.resumption._threaded is locked
