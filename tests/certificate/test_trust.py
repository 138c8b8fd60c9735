"""Whom a server accepts as clients: bundles of CAs and revocation lists, by handshakes and by their errors."""

from __future__ import annotations

import base64
import contextlib
import logging
import re
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from files import Files
from handshakes import client
from memory import handshake
from odd_certificates import Odd, OddPair
from pki import DAY, PKI, Pair

from asgi_tls import ServerTLS, create_client_context
from asgi_tls.certificate.trust import TrustAnchor, load_ca_bundle, load_client_trust
from asgi_tls.errors import (
    CertificateError,
    CRLError,
    ExpiredError,
    MalformedCertificateError,
    NotPEMError,
    NotYetValidError,
)
from asgi_tls.events import ClientErrorEvent, Event, Listener

CLIENT = (ExtendedKeyUsageOID.CLIENT_AUTH,)
NOW = datetime.now(UTC)


@cache
def pki() -> PKI:
    return PKI("Clients")


@cache
def other() -> PKI:
    return PKI("Others")


@cache
def person() -> Pair:
    return pki().leaf("person.example", eku=CLIENT)


class Door:
    """A server that asks for client certificates, and whoever knocks."""

    def __init__(
        self,
        files: Files,
        directory: Path,
        bundle: bytes,
        crls: bytes | None = None,
        *,
        listeners: Sequence[Listener] = (),
    ) -> None:
        self.directory, ca, crl = directory, directory / "ca.pem", directory / "crl.pem"
        ca.write_bytes(bundle)
        crl.write_bytes(crls or b"")
        tls = ServerTLS(files.ecdsa, client_ca=ca, client_crl=None if crls is None else crl, listeners=listeners)
        self.context = tls.create_context()

    def knock(self, pair: Pair | OddPair, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> str:
        """What the server makes of this client: "in", or why not."""
        visitor = client(minimum=version, maximum=version)
        visitor.set_ciphers("DEFAULT:@SECLEVEL=0")  # a client that shows whatever it has
        visitor.load_cert_chain(*pair.write(self.directory / "client"))
        try:
            handshake(self.context, visitor)
        except ssl.SSLError as error:
            return str(error)
        return "in"

    def knock_at_a_socket(self, pair: Pair) -> str:
        """The same on blocking sockets, as gunicorn's workers have them."""
        visitor = client()
        visitor.load_cert_chain(*pair.write(self.directory / "client"))
        near, far = socket.socketpair()
        with near, ThreadPoolExecutor() as pool:
            there = pool.submit(self.context.wrap_socket, far, server_side=True)
            with contextlib.suppress(ssl.SSLError), visitor.wrap_socket(near, server_hostname="localhost") as secure:
                secure.settimeout(10)
                secure.recv(1)
            error = there.exception(10)
        return "in" if error is None else str(error)


def crls(*revoked: Pair, of: PKI | None = None) -> bytes:
    """The lists of both CAs of a PKI; of the root and of the intermediate alike."""
    of = of or pki()
    return of.crl(of.root, *revoked) + of.crl(of.intermediate, *revoked)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_whole_chain_is_checked(files: Files, tmp_path: Path, version: ssl.TLSVersion) -> None:
    bundle = pki().root_pem
    assert Door(files, tmp_path, bundle, crls()).knock(person(), version) == "in"
    for revoked in (person(), pki().intermediate):
        said = Door(files, tmp_path, bundle, crls(revoked)).knock(person(), version)
        assert "REVOKED" in said.upper(), revoked


@pytest.mark.parametrize("blocking", [False, True])
def test_the_ca_without_a_list_is_named_in_the_event(files: Files, tmp_path: Path, blocking: bool) -> None:
    """The intermediate comes from the client, so only the handshake can tell that its list is missing."""
    heard: list[Event] = []
    came = threading.Event()

    def listen(event: Event) -> None:
        if isinstance(event, ClientErrorEvent):
            heard.append(event)
            came.set()

    door = Door(files, tmp_path, pki().root_pem, pki().crl(pki().root), listeners=[listen])
    assert (door.knock_at_a_socket if blocking else door.knock)(person()) != "in"
    assert came.wait(10)
    (event,) = heard
    assert isinstance(event, ClientErrorEvent)
    assert event.msg == "certificate verify failed: unable to get certificate CRL (issuer CN=Clients Intermediate)"


def test_the_ca_without_a_list_is_named_at_the_start(tmp_path: Path) -> None:
    ca, crl = tmp_path / "ca.pem", tmp_path / "crl.pem"
    ca.write_bytes(pki().root_pem + pki().intermediate_pem + other().root_pem)
    table = {
        "CN=Clients Intermediate": [pki().crl(pki().root), other().crl(other().root)],
        "CN=Clients Root": [pki().crl(pki().intermediate), other().crl(other().root)],
        "CN=Others Root": [pki().crl(pki().root), pki().crl(pki().intermediate)],
    }
    for name, lists in table.items():
        crl.write_bytes(b"".join(lists))
        with pytest.raises(CRLError, match=f"contains no CRL of {name}, which is in {ca}. .*client_ca") as caught:
            load_client_trust(ca, crl)
        assert caught.value.path == crl
    # One with the same name and another key is another CA's.
    crl.write_bytes(crls(of=PKI("Clients")) + other().crl(other().root))
    with pytest.raises(CRLError, match="no CRL of CN=Clients Root"):
        load_client_trust(ca, crl)


def test_with_lists_an_intermediate_needs_its_root(tmp_path: Path) -> None:
    (tmp_path / "crl.pem").write_bytes(crls())
    namesake = PKI("Clients").root
    for others in (b"", namesake.cert_pem, other().root_pem):
        (tmp_path / "ca.pem").write_bytes(pki().intermediate_pem + others)
        with pytest.raises(CRLError, match="contains CN=Clients Intermediate without its issuer CN=Clients Root"):
            load_client_trust(tmp_path / "ca.pem", tmp_path / "crl.pem")
    # A root of the intermediate's own name, which has another key, is not the other half of it.
    (tmp_path / "ca.pem").write_bytes(pki().intermediate_pem + pki().ca("Clients Intermediate").cert_pem)
    with pytest.raises(CRLError, match="contains CN=Clients Intermediate without its issuer CN=Clients Root"):
        load_client_trust(tmp_path / "ca.pem", tmp_path / "crl.pem")


def test_a_root_with_sha1_needs_no_issuer(files: Files, tmp_path: Path) -> None:
    root = pki().ca("Old Root", key="rsa", signature="sha1")
    member = pki().leaf("person.example", eku=CLIENT, issuer=root)
    assert Door(files, tmp_path, root.cert_pem, pki().crl(root)).knock(member) == "in"
    assert "certificate revoked" in Door(files, tmp_path, root.cert_pem, pki().crl(root, member)).knock(member)


def test_both_halves_of_a_cross_signed_root(files: Files, tmp_path: Path) -> None:
    old = other().root
    cross = pki().ca("Clients Root", issuer=old, key=pki().root.key)
    for bundle in (cross.cert_pem + pki().root_pem, pki().root_pem + cross.cert_pem):
        assert Door(files, tmp_path, bundle, crls()).knock(person()) == "in"
        assert Door(files, tmp_path, bundle).knock(person()) == "in"


def test_an_intermediate_may_be_the_anchor(files: Files, tmp_path: Path) -> None:
    door = Door(files, tmp_path, pki().intermediate_pem)
    assert door.knock(person()) == "in"
    assert door.knock(person(), ssl.TLSVersion.TLSv1_2) == "in"
    assert door.knock(pki().leaf("neighbour.example", eku=CLIENT, intermediate=False)) != "in"


def test_a_leaf_in_the_bundle_is_no_anchor(files: Files, tmp_path: Path) -> None:
    """A server's fullchain.pem as the bundle would let in whoever has its key."""
    door = Door(files, tmp_path, person().cert_pem + other().root_pem)
    assert door.knock(person()) != "in"
    assert door.knock(other().leaf("other.example", eku=CLIENT)) == "in"


def test_a_root_without_basic_constraints_stands_for_itself(tmp_path: Path) -> None:
    """As those of X.509 version 1 do. An intermediate without them is no CA."""
    path, old = tmp_path / "ca.pem", pki().ca("Old Root", basic_constraints=False)
    path.write_bytes(old.cert_pem)
    assert load_ca_bundle(path) == old.cert_pem.decode()
    path.write_bytes(pki().ca("Not a CA", issuer=pki().root, basic_constraints=False).cert_pem)
    with pytest.raises(NotPEMError, match="contains no CA certificate"):
        load_ca_bundle(path)


def test_what_is_empty_is_called_what_it_should_be(tmp_path: Path) -> None:
    ca, crl = tmp_path / "ca.pem", tmp_path / "crl.pem"
    ca.write_bytes(b"")
    crl.write_bytes(b"")
    for load in (lambda: load_ca_bundle(ca), lambda: load_client_trust(ca)):
        with pytest.raises(CertificateError, match="is empty. Write the CA bundle again"):
            load()
    ca.write_bytes(pki().root_pem)
    with pytest.raises(CertificateError, match="is empty. Write the CRL again"):
        load_client_trust(ca, crl)


def test_a_small_key_of_a_client_is_refused(files: Files, tmp_path: Path) -> None:
    """RFC 9325 section 4.5, by OpenSSL's security level 2."""
    rsa = PKI("RSA", key="rsa")
    door = Door(files, tmp_path, rsa.root_pem)
    assert door.knock(rsa.leaf("new.example", key="rsa", eku=CLIENT)) == "in"
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        assert door.knock(rsa.leaf("old.example", key="rsa1024", eku=CLIENT), version) != "in"


def test_bundles_that_have_expired(files: Files, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ca = tmp_path / "ca.pem"
    old = [PKI(name).ca(name, not_before=NOW - 9 * DAY, not_after=NOW - DAY) for name in ("One", "Two")]
    ca.write_bytes(b"".join(each.cert_pem for each in old))
    said = r"no CA certificate that is still valid; expired: CN=One on \d{4}-\d\d-\d\d, CN=Two on"
    with pytest.raises(ExpiredError, match=said):
        ServerTLS(files.ecdsa, client_ca=ca).create_context()
    with pytest.raises(ExpiredError, match=said):
        create_client_context(cafile=ca)
    with caplog.at_level(logging.WARNING, "asgi_tls"):
        assert Door(files, tmp_path, old[0].cert_pem + pki().root_pem).knock(person()) == "in"
    assert (
        f"{ca}: CN=One expired on {NOW - DAY:%Y-%m-%d}: clients of this CA are refused (expired-client-ca)"
        in caplog.messages
    )
    # One that has expired needs no list, and is reported all the same.
    assert Door(files, tmp_path, old[0].cert_pem + pki().root_pem, crls()).knock(person()) == "in"
    (warning,) = load_client_trust(ca, tmp_path / "crl.pem").warnings
    assert warning.startswith(f"{ca}: CN=One expired on")


def test_a_ca_ends_with_its_last_second(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(pki().root_pem)
    end = pki().root.certificate.not_valid_after_utc
    assert load_client_trust(tmp_path / "ca.pem", now=end - timedelta(seconds=1)).warnings == ()
    with pytest.raises(ExpiredError, match="no CA certificate that is still valid"):
        load_client_trust(tmp_path / "ca.pem", now=end)


def test_the_last_certificate_of_each_ca_counts(tmp_path: Path) -> None:
    """A CA that was renewed with its key lasts until the later end; with another key its clients have to change."""
    ca, other = tmp_path / "ca.pem", PKI("Other")
    ends = [(NOW + days * DAY).replace(microsecond=0) for days in (5, 50, 500)]
    first = other.ca("Clients", not_after=ends[0])
    again = other.ca("Clients", key=first.key, not_after=ends[2])
    other_key = other.ca("Clients", not_after=ends[1])
    later = other.ca("Clients", key=other_key.key, not_before=ends[1] + DAY, not_after=ends[2])  # a day without any
    gone = other.ca("Gone", not_before=NOW - 9 * DAY, not_after=NOW - DAY)
    back = other.ca("Gone", key=gone.key)
    left = other.ca("Left", not_before=NOW - 9 * DAY, not_after=NOW - DAY)
    ca.write_bytes(b"".join(each.cert_pem for each in (again, first, other_key, later, gone, back, left)))
    trust = load_client_trust(ca)
    found = {(one.subject, one.not_after) for one in trust.expiring if isinstance(one, TrustAnchor)}
    assert found == {
        ("CN=Clients", ends[2]), ("CN=Clients", ends[1]), ("CN=Gone", back.certificate.not_valid_after_utc),
        ("CN=Left", left.certificate.not_valid_after_utc),
    }  # fmt: skip
    (warning,) = trust.warnings  # of the one whose clients are refused
    assert "CN=Left expired on" in warning


BAD_BUNDLES: dict[str, tuple[type[CertificateError], str, Callable[[], bytes]]] = {
    "a leaf": (NotPEMError, "contains no CA certificate", lambda: person().cert_pem),
    "a key": (NotPEMError, "contains no certificate, only PRIVATE KEY", lambda: person().key_pem),
    "a CA of tomorrow": (
        NotYetValidError,
        "no CA certificate that is valid yet; not before: CN=Next on ",
        lambda: pki().ca("Next", not_before=NOW + DAY).cert_pem,
    ),
    "four CAs of tomorrow": (
        NotYetValidError,
        r"not before: CN=0 on [-\d :]+ UTC, CN=1 on [-\d :]+ UTC, CN=2 on [-\d :]+ UTC and 1 more\. Append",
        lambda: b"".join(pki().ca(str(number), not_before=NOW + DAY).cert_pem for number in range(4)),
    ),
    "a CRL": (NotPEMError, "contains no certificate, only X509 CRL", crls),
    "nonsense": (NotPEMError, "contains no PEM block", lambda: b"nonsense"),
    "no certificate": (
        MalformedCertificateError,
        "a certificate on line 1 that cannot be parsed",
        lambda: b"-----BEGIN CERTIFICATE-----\nMAMCAQU=\n-----END CERTIFICATE-----\n",
    ),
    "a date that is none": (
        MalformedCertificateError,
        "a certificate on line 1 that cannot be parsed",
        lambda: with_date(b"X").encode("ascii"),
    ),
}


def with_date(last: bytes) -> str:
    """The root, with `last` as the last character of its dates, which OpenSSL reads and cannot show."""
    der = re.sub(rb"(\x17\x0d\d{12})Z", rb"\g<1>" + last, pki().root.der)
    return ssl.DER_cert_to_PEM_cert(der)


@pytest.mark.parametrize(("error", "words", "make"), BAD_BUNDLES.values(), ids=BAD_BUNDLES)
def test_bundles_that_are_useless(
    files: Files, tmp_path: Path, error: type[CertificateError], words: str, make: Callable[[], bytes]
) -> None:
    (tmp_path / "ca.pem").write_bytes(make())
    for load in (
        lambda: ServerTLS(files.ecdsa, client_ca=tmp_path / "ca.pem").check(),
        lambda: create_client_context(cafile=tmp_path / "ca.pem"),
    ):
        with pytest.raises(error, match=f"ca.pem: .*{words}"):
            load()


def test_cas_that_only_openssl_can_parse(files: Files, tmp_path: Path) -> None:
    """Names in T61 were usual in company CAs of the nineties, whose roots are renewed as they are."""
    odd = Odd(root_name=Odd.t61("Zürich CA"))
    pair = odd.pair("person.example")
    assert Door(files, tmp_path, odd.root_pem + pki().root_pem).knock(pair) == "in"
    assert Door(files, tmp_path, odd.root_pem).knock(person()) != "in"
    assert Door(files, tmp_path, odd.root_pem, odd.crl()).knock(pair) == "in"
    assert Door(files, tmp_path, odd.root_pem.replace(b" CERT", b" X509 CERT")).knock(pair) == "in"
    headed = odd.root_pem.replace(b"CATE-----\n", "CATE-----\nComment: Zürich\n\n".encode("latin-1"), 1)
    assert Door(files, tmp_path, headed).knock(pair) == "in"
    assert "REVOKED" in Door(files, tmp_path, odd.root_pem, odd.crl(pair)).knock(pair).upper()


def encoded(kind: str, der: bytes) -> bytes:
    return f"-----BEGIN {kind}-----\n{base64.encodebytes(der).decode()}-----END {kind}-----\n".encode()


BAD_LISTS: dict[str, tuple[type[CertificateError], str, Callable[[], bytes]]] = {
    "empty": (CertificateError, "is empty", lambda: b""),
    "nonsense": (NotPEMError, "contains no PEM block", lambda: b"nonsense"),
    "a certificate": (NotPEMError, "contains no CRL, only CERTIFICATE", lambda: pki().root_pem),
    "no CRL": (MalformedCertificateError, "CRL on line 1 that cannot be parsed", lambda: encoded("X509 CRL", b"0\0")),
    "past its end": (
        CRLError, "CRL of CN=Clients Root that expired on", lambda: pki().crl(pki().root, ends=NOW - DAY),
    ),
    "ahead of its time": (
        CRLError, "CN=Clients Root that is not valid before", lambda: pki().crl(pki().root, begins=NOW + DAY / 2),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("error", "words", "make"), BAD_LISTS.values(), ids=BAD_LISTS)
def test_lists_that_are_useless(
    tmp_path: Path, error: type[CertificateError], words: str, make: Callable[[], bytes]
) -> None:
    (tmp_path / "ca.pem").write_bytes(pki().root_pem)
    (tmp_path / "crl.pem").write_bytes(make())
    with pytest.raises(error, match=f"crl.pem: .*{words}"):
        load_client_trust(tmp_path / "ca.pem", tmp_path / "crl.pem")


def test_a_list_ends_with_its_last_second(tmp_path: Path) -> None:
    end = (NOW + DAY).replace(microsecond=0)
    (tmp_path / "ca.pem").write_bytes(pki().root_pem)
    (tmp_path / "crl.pem").write_bytes(pki().crl(pki().root, ends=end))
    load_client_trust(tmp_path / "ca.pem", tmp_path / "crl.pem", now=end - timedelta(seconds=1))
    with pytest.raises(CRLError, match="that expired on"):
        load_client_trust(tmp_path / "ca.pem", tmp_path / "crl.pem", now=end)
