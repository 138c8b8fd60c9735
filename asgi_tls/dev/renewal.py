"""The renewal of a development certificate while a server uses it."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from asgi_tls.dev.ca import CERTIFICATE, IssuedCertificate, LocalCA, read_certificate
from asgi_tls.dev.leaf import names_in


def is_development(certificate: bytes, *, ca: LocalCA | None = None) -> bool:
    """Whether the local CA of this user signed a certificate (DER). Reads the CA's certificate."""
    try:
        parsed = x509.load_der_x509_certificate(certificate)
    except (ValueError, x509.InvalidVersion):
        return False
    return (ca or LocalCA()).signed(parsed)


def renew(certificate: bytes, *, ca: LocalCA | None = None) -> IssuedCertificate | None:
    """Renew a development certificate (DER): the same names, the same files, a new key.

    None, without any change, if the certificate is not in the directory of the local CA. A server that follows the
    files loads the new pair by itself. Reads and writes files.

    Raises ConfigurationError.
    """
    ca = ca or LocalCA()
    names = _names(certificate, ca)
    return None if names is None else ca.issue(names, renew=True)


def _names(certificate: bytes, ca: LocalCA) -> tuple[str, ...] | None:
    """Its names in their order: the first one names the directory."""
    for path in (ca.directory / "certificates").glob(f"*/{CERTIFICATE}"):
        present = _read(path)
        if present is not None and present.public_bytes(Encoding.DER) == certificate:
            return names_in(present)
    return None


def _read(path: Path) -> x509.Certificate | None:
    try:
        return read_certificate(path)
    except (OSError, ValueError):
        return None
