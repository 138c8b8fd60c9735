"""Certificates that break the rules of X.509: served where OpenSSL can serve them, else refused by a truthful error."""

from __future__ import annotations

import hashlib
import logging
import ssl
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from handshakes import client
from memory import handshake
from odd_certificates import (
    V1,
    V4,
    Odd,
    OddPair,
    alternative_names,
    basic_constraints,
    dns,
    extension,
    ip,
    tlv,
    utc_time,
)
from pki import key_to_pem, make_key

from asgi_tls import PEMFiles, ServerTLS
from asgi_tls.certificate import PEMData
from asgi_tls.errors import (
    CertificateError,
    ExpiredError,
    KeyMismatchError,
    MalformedCertificateError,
    MissingIntermediateError,
    NoSubjectAltNameError,
    StaplingError,
)

ODD = Odd()
NAME, LEAF = alternative_names(dns(b"localhost")), basic_constraints()
TRUE, FALSE = b"\x01\x01\xff", b"\x01\x01\x00"


@dataclass(frozen=True)
class Shape:
    """How a certificate is made, and the warning that it is served with; "" for none."""

    warning: str = ""
    how: dict[str, Any] = field(default_factory=dict)
    names: tuple[str, ...] = ("localhost",)


def shape(warning: str = "", *extensions: bytes, names: tuple[str, ...] = ("localhost",), **how: Any) -> Shape:
    return Shape(warning, {**how, **({"extensions": [*extensions]} if extensions else {})}, names)


NOT_DER = "certificate 1 (line 1) is not valid DER of X.509: "
SERIAL = "certificate 1 has the serial number "

SERVED = {
    "plain": shape(),
    "a negative serial number": shape(SERIAL + "-fee", serial=b"\xf0\x12"),
    "serial number zero": shape(SERIAL + "0,", serial=b"\0"),
    "a serial number of 40 bytes": shape(SERIAL + "101", serial=b"\x01" * 40),
    "serial number one": shape(serial=b"\1"),
    "the highest serial number": shape(serial=b"\x7f" + b"\xff" * 19),
    "the one after it": shape(SERIAL + "8" + "0" * 39, serial=b"\0\x80" + bytes(19)),
    "an encoded DEFAULT": shape(NOT_DER, alternative_names(dns(b"localhost"), critical=FALSE), LEAF),
    "CA:FALSE written out": shape(NOT_DER, NAME, basic_constraints(FALSE)),
    "T61": shape(NOT_DER, subject=Odd.t61("Zürich")),
    "Latin-1 in T61": shape(NOT_DER, subject=Odd.text(0x14, b"\xe9\xff")),
    "BMP": shape(subject=Odd.text(0x1E, "localhost".encode("utf-16-be"))),
    "no subject": shape(subject=tlv(0x30)),
    "a name of an unknown kind": shape(NOT_DER, subject=Odd.text(0x0C, b"x", "2b06010401868d1f01"), version=V4),
    "version 4": shape(NOT_DER, version=V4),
    "an address of three bytes": shape(NOT_DER, alternative_names(dns(b"localhost"), ip(b"\x7f\0\0")), LEAF),
    "an empty name": shape("", alternative_names(dns(b"localhost"), dns(b"")), LEAF),
    "UTF-8 in a name": shape(
        "", alternative_names(dns(b"localhost"), dns("münchen.test".encode())), LEAF,
        names=("localhost", "münchen.test"),
    ),
    "blanks in a name": shape(
        "no client accepts the certificate for bad name", alternative_names(dns(b"localhost"), dns(b"bad name ")), LEAF,
        names=("localhost", "bad name "),
    ),
    "a year with four digits": shape(not_after=tlv(0x18, b"99991231235959Z")),
    "addresses beside an odd part": shape(
        NOT_DER, alternative_names(dns(b"localhost"), ip(b"\x7f\0\0\1"), ip(bytes(15) + b"\1")),
        basic_constraints(FALSE), names=("localhost", "127.0.0.1", "::1"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("shape", SERVED.values(), ids=SERVED)
def test_what_is_served(shape: Shape, caplog: pytest.LogCaptureFixture) -> None:
    pair = ODD.pair(**shape.how)
    source = PEMData(pair.chain_pem, pair.key_pem)
    certificate = source.load()
    assert certificate.subject_alt_names == shape.names
    assert certificate.leaf_der == pair.der
    others = [each for each in certificate.warnings if "is a root" not in each]
    assert len(others) == bool(shape.warning), others
    assert not others or others[0].startswith(shape.warning)
    with caplog.at_level(logging.WARNING, "asgi_tls"):
        server = ServerTLS(source, listeners=[]).create_context()
    assert all(any(each in message for message in caplog.messages) for each in others)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        ends = handshake(server, client(ca=ODD.root_pem.decode(), minimum=version, maximum=version))
        assert ends.client.getpeercert(binary_form=True) == pair.der


def test_what_openssl_tells_of_it(tmp_path: Path) -> None:
    aia = extension(
        "2b06010505070101", tlv(0x30, tlv(0x30, bytes.fromhex("06082b06010505073001"), tlv(0x86, b"http://o/")))
    )
    pair = ODD.pair(subject=Odd.t61("Zürich"), extensions=[NAME, LEAF, aia], serial=b"\x0a\xbc")
    files = PEMFiles(*pair.write(tmp_path))
    certificate = files.load()
    assert (certificate.subject, certificate.issuer) == ("CN=Zürich", "CN=Odd Root")
    assert (certificate.serial_number, certificate.key_type) == ("abc", "ECDSA P-256")
    assert certificate.ocsp_url == "http://o/"
    assert 50 < (certificate.not_after - certificate.not_before).days < 70
    assert certificate.key_pem == pair.key_pem
    assert certificate.source == str(files)
    assert unfolded(certificate.chain_pem) == unfolded(pair.chain_pem)
    assert certificate.fingerprint_sha256 == hashlib.sha256(pair.der).hexdigest()


def test_an_odd_certificate_with_others_behind_its_chain() -> None:
    pair = ODD.pair(subject=Odd.t61("ü"))
    for others in (1, 2):
        chain = pair.chain_pem + b"".join(Odd().root_pem for _ in range(others))
        assert unfolded(PEMData(chain, pair.key_pem).load().chain_pem) == unfolded(chain)


def unfolded(text: bytes) -> bytes:
    """Without the ends of the lines, which are written again."""
    return text.replace(b"\n", b"")


def test_an_issuer_that_only_openssl_can_parse() -> None:
    odd = Odd(root_name=Odd.t61("Zürich CA"))
    pair = odd.pair()
    server = ServerTLS(PEMData(pair.chain_pem, pair.key_pem), listeners=[]).create_context()
    assert handshake(server, client(ca=odd.root_pem.decode())).client.version() == "TLSv1.3"


def _by_another(pair: OddPair) -> OddPair:
    return OddPair(pair.der, pair.key, Odd().root_pem, pair.serial)


# OpenSSL before 3.5 does not load such a certificate, later ones do, and refuse it in a handshake.
UNREADABLE = "OpenSSL refuses it(: INVALID_CERTIFICATE|, although its issuer is in the file)"

REFUSED: dict[str, tuple[type[CertificateError], str, OddPair]] = {
    "a subject that is not UTF-8": (
        MalformedCertificateError, "OpenSSL cannot parse it", ODD.pair(subject=Odd.text(0x0C, b"Z\xfcrich")),
    ),
    "an extension twice": (MalformedCertificateError, UNREADABLE, ODD.pair(extensions=[NAME, NAME, LEAF])),
    "an extension of garbage": (
        MalformedCertificateError, UNREADABLE,
        ODD.pair(extensions=[NAME, LEAF, extension("551d1f", b"\1\2\3")]),
    ),
    "bytes after the end": (MalformedCertificateError, "OpenSSL cannot parse it", ODD.pair(tail=b"\0\0")),
    "a date without seconds": (
        MalformedCertificateError, "(format error in certificate's notAfter|OpenSSL cannot parse it)",
        ODD.pair(not_after=tlv(0x17, b"3001010000Z")),
    ),
    "Latin-1 in an e-mail address": (
        MalformedCertificateError, "OpenSSL cannot read its names",
        ODD.pair(extensions=[alternative_names(dns(b"localhost"), tlv(0x81, b"z\xfc@example.org")), LEAF]),
    ),
    "version 1": (NoSubjectAltNameError, "no host name in subjectAltName", ODD.pair(version=V1, extensions=[])),
    "odd and without a name": (
        NoSubjectAltNameError, "no host name in subjectAltName",
        ODD.pair(extensions=[alternative_names(ip(b"\x7f\0\0")), LEAF]),
    ),
    "odd and expired": (
        ExpiredError, "certificate has expired", ODD.pair(subject=Odd.t61("ü"), not_after=utc_time(-1)),
    ),
    "odd and without its issuer": (
        MissingIntermediateError, "certificate signature failure", _by_another(ODD.pair(subject=Odd.t61("ü"))),
    ),
    "odd, with a CA of another name": (
        MissingIntermediateError, "unable to get local issuer certificate",
        _by_another(Odd(root_name=Odd.t61("Zürich CA")).pair(subject=Odd.t61("ü"))),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("error", "words", "pair"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(error: type[CertificateError], words: str, pair: OddPair, tmp_path: Path) -> None:
    with pytest.raises(error, match=f"fullchain.pem: .*{words}") as caught:
        PEMFiles(*pair.write(tmp_path)).load()
    assert type(caught.value) is error
    assert caught.value.path == tmp_path / "fullchain.pem"


def test_an_odd_certificate_alone_in_its_file() -> None:
    pair = replace(ODD.pair(subject=Odd.t61("ü")), root_pem=b"")
    source = PEMData(pair.chain_pem, pair.key_pem)
    assert len(source.load().warnings) == 1
    server = ServerTLS(source, listeners=[]).create_context()
    assert handshake(server, client(ca=ODD.root_pem.decode())).client.getpeercert(binary_form=True) == pair.der


def test_nothing_is_stapled_to_an_odd_certificate() -> None:
    url = tlv(0x30, bytes.fromhex("06082b06010505073001"), tlv(0x86, b"http://127.0.0.1:1/"))
    access = extension("2b06010505070101", tlv(0x30, url))
    pair = ODD.pair(subject=Odd.t61("ü"), extensions=[NAME, LEAF, access])
    source = PEMData(pair.chain_pem, pair.key_pem)
    assert source.load().ocsp_url == "http://127.0.0.1:1/"
    ServerTLS(source, listeners=[]).check()
    with pytest.raises(StaplingError, match="no OCSP request can be made: .* not valid DER"):
        ServerTLS(source, listeners=[], stapling="required").check()


def test_an_odd_certificate_with_the_key_of_another() -> None:
    pair = ODD.pair(subject=Odd.t61("ü"))
    with pytest.raises(KeyMismatchError, match="the key does not belong to the certificate"):
        PEMData(pair.chain_pem, key_to_pem(make_key())).load()


def test_a_client_of_ours_shows_no_certificate_that_is_odd() -> None:
    pair = ODD.pair(subject=Odd.t61("ü"))
    with pytest.raises(MalformedCertificateError, match="is not valid DER of X.509.*issued again"):
        PEMData(pair.chain_pem, pair.key_pem).load("client")


def test_a_critical_extension_that_nobody_knows_is_reported() -> None:
    pair = ODD.pair(extensions=[NAME, LEAF, extension("2b0601040182375f01", b"\x05\x00", TRUE)])
    warnings = PEMData(pair.chain_pem, pair.key_pem).load().warnings
    assert "the extension 1.3.6.1.4.1.311.95.1 is critical: clients that do not know it refuse" in warnings[-1]


def test_warnings_of_cryptography_reach_nobody(tmp_path: Path) -> None:
    """Those for odd serial numbers are for programmers; ours say it. What others warn of is left alone."""
    names = [str(path) for path in ODD.pair(serial=b"\xf0\x12").write(tmp_path)]
    script = (
        "import sys, warnings\nfrom asgi_tls import PEMFiles\n"
        "for _ in range(3): assert PEMFiles(*sys.argv[1:]).load().warnings\n"
        "from cryptography.utils import CryptographyDeprecationWarning\n"
        "warnings.warn('of the application', CryptographyDeprecationWarning)"
    )
    for flag in ("-Wdefault", "-Wignore", "-Walways"):
        done = subprocess.run([sys.executable, flag, "-c", script, *names], capture_output=True, text=True, check=True)
        assert done.stdout == ""
        assert "serial" not in done.stderr
        assert ("of the application" in done.stderr) is (flag != "-Wignore")
