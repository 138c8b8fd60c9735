"""Certificates that are signed by their own key, and the names in a certificate to be made."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from asgi_tls.certificate.private_key import export_key
from asgi_tls.hostnames import parse_ip


def general_name(name: str) -> x509.GeneralName:
    """The subjectAltName for a canonical host name or IP address."""
    return x509.DNSName(name) if parse_ip(name) is None else x509.IPAddress(ipaddress.ip_address(name))


def self_signed(
    common_name: str,
    names: Sequence[str],
    not_before: datetime,
    not_after: datetime,
    *,
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None,
    critical: x509.ExtensionType | None = None,
) -> tuple[bytes, bytes]:
    """A certificate for canonical names, and its key, by default a new ECDSA key: both PEM. `critical` is a further
    extension.
    """
    key = ec.generate_private_key(ec.SECP256R1()) if key is None else key
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.SubjectAlternativeName([general_name(name) for name in names]), critical=False)
    )
    if critical is not None:
        builder = builder.add_extension(critical, critical=True)
    certificate = builder.sign(key, hashes.SHA256())
    return certificate.public_bytes(Encoding.PEM), export_key(key)
