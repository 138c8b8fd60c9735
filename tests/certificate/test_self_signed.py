"""Certificates that are signed by their own key."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from pki import make_key

from asgi_tls.certificate.self_signed import self_signed

BEGINS = datetime(2030, 1, 1, tzinfo=UTC)
ENDS = BEGINS + timedelta(days=7)


def test_what_is_in_it() -> None:
    certificate_pem, key_pem = self_signed("placeholder", ["a.example", "*.b.example", "::1"], BEGINS, ENDS)
    made, key = x509.load_pem_x509_certificate(certificate_pem), load_pem_private_key(key_pem, None)
    assert made.subject.rfc4514_string() == made.issuer.rfc4514_string() == "CN=placeholder"
    assert (made.not_valid_before_utc, made.not_valid_after_utc) == (BEGINS, ENDS)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.curve.name == "secp256r1"
    assert made.public_key() == key.public_key()
    made.verify_directly_issued_by(made)
    (names,) = made.extensions
    assert not names.critical
    assert names.value == x509.SubjectAlternativeName(
        [x509.DNSName("a.example"), x509.DNSName("*.b.example"), x509.IPAddress(ipaddress.ip_address("::1"))]
    )


def test_with_a_key_and_a_critical_extension() -> None:
    key, more = make_key("rsa"), x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31"), b"\x04\x00")
    certificate_pem, key_pem = self_signed("a.example", ["a.example"], BEGINS, ENDS, key=key, critical=more)
    made = x509.load_pem_x509_certificate(certificate_pem)
    assert made.public_key() == load_pem_private_key(key_pem, None).public_key() == key.public_key()
    (_, added) = made.extensions
    assert added.critical
    assert added.value == more
