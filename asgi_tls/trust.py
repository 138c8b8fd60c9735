"""Bundles of CA certificates: whom a server accepts as clients, whom a client accepts as servers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from asgi_tls.certificate.material import read_material
from asgi_tls.certificate.pem import CERTIFICATE_LABELS, read_blocks, wrong_label
from asgi_tls.errors import NotPEMError

if TYPE_CHECKING:
    from cryptography import x509


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


def _may_sign(certificate: x509.Certificate) -> bool:
    """Whether it is a CA's: by basicConstraints, or a self-signed one of before X.509 version 3."""
    from cryptography import x509

    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return certificate.subject == certificate.issuer
