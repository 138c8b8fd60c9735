"""Bundles of CA certificates: whom a server accepts as clients, whom a client accepts as servers; and their CRLs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from asgi_tls.certificate.material import read_material
from asgi_tls.certificate.pem import CERTIFICATE_LABELS, read_blocks, wrong_label
from asgi_tls.errors import ExpiredError, NotPEMError

if TYPE_CHECKING:
    from cryptography import x509


@dataclass(frozen=True)
class ClientTrust:
    """Whose certificates a server accepts from clients: CA certificates and CRLs, as PEM text.

    With `crls`, a client gets in only if the CA that signed its certificate has a CRL among them that is in force.
    """

    authorities: str
    crls: str | None = None


def load_client_trust(client_ca: Path, client_crl: Path | None = None) -> ClientTrust:
    """Read both files, and check them.

    Raises CertificateError.
    """
    return ClientTrust(load_ca_bundle(client_ca), None if client_crl is None else load_crls(client_crl))


def load_ca_bundle(path: Path) -> str:
    """Read a PEM file of CA certificates once, check it, and return the certificates in it as PEM text.

    Raises CertificateError: for an unreadable or damaged file, and for one without a single CA certificate.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    material = read_material(path, "CA bundle")
    blocks = read_blocks(material)
    found: list[str] = []
    authorities = 0
    for block in blocks:
        if block.label not in CERTIFICATE_LABELS:
            continue
        try:
            certificate = x509.load_der_x509_certificate(block.der)
            authorities += _may_sign(certificate)
        except ValueError:
            raise material.error(
                NotPEMError, f"holds a certificate on line {block.line} that does not parse", "Copy the file again."
            ) from None
        found.append(certificate.public_bytes(Encoding.PEM).decode("ascii"))
    if not found:
        raise wrong_label(material, blocks, "a certificate")
    if not authorities:
        raise material.error(
            NotPEMError, "holds no CA certificate", "Give the certificate of the CA that signs, not one that it signed."
        )
    return "".join(found)


def load_crls(path: Path) -> str:
    """Read a PEM file of certificate revocation lists once, check it, and return them as PEM text.

    Raises CertificateError: for an unreadable or damaged file, one without a list, and one with a list that is past its
    nextUpdate, with which every client of that CA would be refused.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    material = read_material(path, "CRL")
    blocks = read_blocks(material)
    now = datetime.now(UTC)
    found: list[str] = []
    for block in blocks:
        if block.label != "X509 CRL":
            continue
        try:
            revoked = x509.load_der_x509_crl(block.der)
            issuer, next_update = revoked.issuer.rfc4514_string(), revoked.next_update_utc
        except ValueError:
            raise material.error(
                NotPEMError, f"holds a CRL on line {block.line} that does not parse", "Fetch it again."
            ) from None
        if next_update is not None and next_update <= now:
            raise material.error(
                ExpiredError,
                f"holds a CRL of {issuer} that was to be replaced by {next_update:%Y-%m-%d %H:%M UTC}",
                "Fetch the current one from the CA, and do so regularly.",
            )
        found.append(revoked.public_bytes(Encoding.PEM).decode("ascii"))
    if not found:
        raise wrong_label(material, blocks, "a CRL")
    return "".join(found)


def _may_sign(certificate: x509.Certificate) -> bool:
    """Whether it is a CA's: by basicConstraints, or a self-signed one of before X.509 version 3."""
    from cryptography import x509

    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return certificate.subject == certificate.issuer
