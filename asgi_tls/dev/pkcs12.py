"""A certificate and its key in one PKCS#12 file (RFC 7292), as browsers and Java import them."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    KeySerializationEncryption,
    NoEncryption,
    load_pem_private_key,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates

from asgi_tls.dev.ca import IssuedCertificate
from asgi_tls.errors import ConfigurationError
from asgi_tls.files import replace_files

PKCS12 = "identity.p12"


def write_pkcs12(issued: IssuedCertificate, password: bytes) -> Path:
    """Write `identity.p12` beside the pair, mode 0600, and replace an existing one. It contains no CA.

    Encrypted with AES-256 (PBES2, RFC 8018), which OpenSSL, NSS and the browsers on top of it read. With an empty
    password the key is not encrypted at all. Raises ConfigurationError.
    """
    encryption: KeySerializationEncryption = BestAvailableEncryption(password) if password else NoEncryption()
    try:
        certificate = x509.load_pem_x509_certificate(issued.certfile.read_bytes())
        key = load_pem_private_key(issued.keyfile.read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise ConfigurationError(
                f"{issued.keyfile} belongs to another certificate",
                fix="Another process replaced it: run the command again.",
            )
        # The name that browsers show.
        name = issued.certificate_names[0].encode()
        data = serialize_key_and_certificates(name, key, certificate, None, encryption)
        replace_files(issued.certfile.parent, {PKCS12: (data, 0o600)})
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"{issued.certfile.parent / PKCS12}: {error}", fix="Check the directory, and the password."
        ) from error
    return issued.certfile.parent / PKCS12
