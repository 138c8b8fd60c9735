"""Create certificates: that of the local CA, and those that it issues. Touches no files."""

from __future__ import annotations

import getpass
import os
import socket
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from asgi_tls.dev.leaf import MAX_COMMON_NAME, Leaf

ORGANIZATION = "asgi-tls development CA"

CA_LIFETIME = timedelta(days=3650)

# The clock of a container, or of a virtual machine that was suspended, may be behind.
_CLOCK_SKEW = timedelta(hours=1)

# The bits in the order of RFC 5280 section 4.2.1.3.
_FOR_SIGNATURES = x509.KeyUsage(True, False, False, False, False, False, False, False, False)  # digitalSignature
_FOR_CERTIFICATES = x509.KeyUsage(False, False, False, False, False, True, True, False, False)  # keyCertSign, cRLSign


def new_authority(now: datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """A self-signed CA that may issue leaf certificates but no CA certificates, named after this user and machine.

    The name is unique: NSS and keychains treat two certificates with one name as two versions of the same CA.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    subject = _subject(f"asgi-tls local CA {identifier.digest.hex()[:8]} ({_user()}@{socket.gethostname()})")
    certificate = (
        _builder(subject, key, now - _CLOCK_SKEW, now + CA_LIFETIME)
        .issuer_name(subject)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_FOR_CERTIFICATES, critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate, key


def new_leaf(
    leaf: Leaf, ca: x509.Certificate, ca_key: ec.EllipticCurvePrivateKey, now: datetime, lifetime: timedelta
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """A certificate for a server or a client, which never outlives the CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    not_before = max(now - _CLOCK_SKEW, ca.not_valid_before_utc)
    not_after = min(now + lifetime, ca.not_valid_after_utc)
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    builder = (
        _builder(_subject(leaf.common_name), key, not_before, not_after)
        .issuer_name(ca.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_FOR_SIGNATURES, critical=True)
        .add_extension(x509.ExtendedKeyUsage([leaf.usage]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(authority, critical=False)
    )
    if leaf.subject_alt_names:
        builder = builder.add_extension(x509.SubjectAlternativeName(leaf.subject_alt_names), critical=False)
    return builder.sign(ca_key, hashes.SHA256()), key


def certificate_pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def is_ours(certificate: x509.Certificate) -> bool:
    """Whether some local CA made it, this one or one before it."""
    return any(
        name.value == ORGANIZATION for name in certificate.issuer.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    )


def _builder(
    subject: x509.Name, key: ec.EllipticCurvePrivateKey, not_before: datetime, not_after: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
    )


def _subject(common_name: str) -> x509.Name:
    organization = x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION)
    if not common_name:
        return x509.Name([organization])
    return x509.Name([organization, x509.NameAttribute(NameOID.COMMON_NAME, common_name[:MAX_COMMON_NAME])])


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's user id without an entry in /etc/passwd
        return str(os.getuid()) if hasattr(os, "getuid") else "someone"
