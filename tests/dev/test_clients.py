"""Client certificates and PKCS#12 files of the local CA."""

from __future__ import annotations

import ipaddress
import ssl
import stat
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st
from memory import handshake

from asgi_tls import PEMFiles, ServerTLS, create_client_context
from asgi_tls.dev.ca import IssuedCertificate, LocalCA
from asgi_tls.dev.leaf import client_leaf
from asgi_tls.dev.pkcs12 import write_pkcs12
from asgi_tls.errors import ConfigurationError

NOW = datetime.now(UTC).replace(microsecond=0)

DNS, MAIL, URI, IP = x509.DNSName, x509.RFC822Name, x509.UniformResourceIdentifier, x509.IPAddress


@pytest.fixture
def ca(tmp_path: Path) -> LocalCA:
    return LocalCA(tmp_path / "home")


def read(issued: IssuedCertificate) -> x509.Certificate:
    return x509.load_pem_x509_certificate(issued.certfile.read_bytes())


@pytest.mark.parametrize(
    ("names", "alternatives", "directory"),
    [
        (["alice"], [], "alice"),
        (["Alice Ärger"], [], "Alice Ärger"),
        (["alice@example.org"], [MAIL("alice@example.org")], "alice@example.org"),
        (["alice@BÜCHER.example"], [MAIL("alice@xn--bcher-kva.example")], "alice@BÜCHER.example"),
        (["worker.example.org"], [DNS("worker.example.org")], "worker.example.org"),
        (["localhost"], [DNS("localhost")], "localhost"),
        (["::1"], [IP(ipaddress.ip_address("::1"))], "%3A%3A1"),
        (["spiffe://example.org/pay"], [URI("spiffe://example.org/pay")], "spiffe%3A%2F%2Fexample.org%2Fpay"),
        (["urn:uuid:1"], [URI("urn:uuid:1")], "urn%3Auuid%3A1"),
        (["J. Smith"], [], "J. Smith"),
        (["me @ work"], [], "me @ work"),
        (["10%"], [], "10%25"),
        (["a/b\\c"], [], "a%2Fb%5Cc"),
        (["alice", "a@b.example", "b.example", "a@b.example"], [MAIL("a@b.example"), DNS("b.example")], "alice"),
    ],
)
def test_what_a_client_certificate_says(
    ca: LocalCA, names: Sequence[str], alternatives: Sequence[x509.GeneralName], directory: str
) -> None:
    issued = ca.issue_client(names)
    certificate = read(issued)
    extensions = certificate.extensions
    assert [each.value for each in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == [names[0]]
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    found = [each.value for each in extensions if isinstance(each.value, x509.SubjectAlternativeName)]
    assert [list(each) for each in found] == ([list(alternatives)] if alternatives else [])
    assert issued.certfile == ca.directory / "clients" / directory / "fullchain.pem"
    assert stat.S_IMODE(issued.keyfile.stat().st_mode) == 0o600
    assert issued.certificate_names == tuple(dict.fromkeys(names))
    assert not ca.issue_client(names).created


@pytest.mark.parametrize(
    "names",
    [[], "alice", [""], [" alice"], ["alice "], ["a\nb"], ["a\0b"], ["\udc80"], ["x" * 65], ["alice", "bob"],
     ["alice", ""], ["alice", "b.example\x01"], ["a@b@c", "x"], ["ärger@example.org"], ["a@-b.example"],
     ["https://bücher.example/"], ["1.2.3"], ["a..b"]],
)  # fmt: skip
def test_names_that_no_client_can_have(ca: LocalCA, names: Sequence[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ca.issue_client(names)
    assert "\n" not in str(caught.value)
    assert not ca.directory.exists()


@given(st.text(max_size=70))
def test_no_name_leads_out_of_the_directory(name: str) -> None:
    try:
        leaf = client_leaf([name])
    except ConfigurationError:
        return
    clients, _, own = leaf.directory.partition("/")
    assert clients == "clients"
    assert own not in {"", ".", ".."}
    assert not {*own} & {*'/\\:*?"<>|\0'}
    assert len(own.encode()) <= 200


def test_a_name_that_is_too_long_for_a_common_name(ca: LocalCA) -> None:
    name = "spiffe://example.org/" + "x" * 200
    certificate = read(ca.issue_client([name]))
    assert certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME) == []
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(URI) == [name]
    assert not ca.issue_client([name]).created


def test_it_is_made_again_like_a_servers(ca: LocalCA) -> None:
    issued = ca.issue_client(["alice"])
    assert not ca.issue_client(["alice"], now=NOW + timedelta(days=59)).created
    assert ca.issue_client(["alice"], now=NOW + timedelta(days=61)).created
    assert ca.issue_client(["alice", "a@b.example"]).created
    issued.keyfile.unlink()
    assert ca.issue_client(["alice", "a@b.example"]).created


def test_one_directory_holds_one_identity(ca: LocalCA, tmp_path: Path) -> None:
    """Neither another client's nor a server's certificate is taken for the one that is asked for."""
    target = tmp_path / "pair"
    assert ca.issue_client(["alice"], directory=target).created
    assert ca.issue_client(["bob"], directory=target).created
    assert ca.issue(["alice.example"], directory=target).created
    assert ca.issue_client(["alice.example"], directory=target).created
    assert not ca.issue_client(["alice.example"], directory=target).created


def test_a_server_takes_the_client_and_no_servers_certificate(ca: LocalCA) -> None:
    pair = ca.issue(["localhost"])
    server = ServerTLS(PEMFiles(pair.certfile, pair.keyfile), client_ca=ca.certificate_path).create_context()
    alice = ca.issue_client(["alice"])
    client = create_client_context(cafile=ca.certificate_path)
    client.load_cert_chain(alice.certfile, alice.keyfile)
    handshake(server, client)
    client.load_cert_chain(pair.certfile, pair.keyfile)
    with pytest.raises(ssl.SSLError, match="(?i)unsupported certificate"):
        handshake(server, client)


@pytest.mark.parametrize("password", [b"secret", "pässword".encode(), b""])
def test_pkcs12_holds_the_pair(ca: LocalCA, password: bytes) -> None:
    issued = ca.issue_client(["Alice Ärger"])
    file = write_pkcs12(issued, password)
    assert file == issued.certfile.parent / "identity.p12"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    found = load_pkcs12(file.read_bytes(), password)
    assert found.key is not None
    assert found.cert is not None
    assert found.cert.certificate == read(issued)
    assert found.cert.friendly_name == "Alice Ärger".encode()
    assert found.key.public_key() == read(issued).public_key()
    assert found.additional_certs == []
    with pytest.raises(ValueError, match="password"):
        load_pkcs12(file.read_bytes(), b"wrong")
    # In its place comes the next one.
    assert write_pkcs12(ca.issue(["localhost"], directory=file.parent), b"next") == file
    assert load_pkcs12(file.read_bytes(), b"next").cert is not None


def test_pkcs12_of_a_pair_that_does_not_fit(ca: LocalCA) -> None:
    alice, bob = ca.issue_client(["alice"]), ca.issue_client(["bob"])
    alice.keyfile.write_bytes(bob.keyfile.read_bytes())
    with pytest.raises(ConfigurationError, match="belongs to another certificate"):
        write_pkcs12(alice, b"secret")
    alice.keyfile.write_bytes(b"")
    with pytest.raises(ConfigurationError) as caught:
        write_pkcs12(alice, b"s3cret")
    assert "s3cret" not in str(caught.value)
