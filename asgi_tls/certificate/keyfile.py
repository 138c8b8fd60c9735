"""Hand certificates, keys and CRLs that are in memory to an `SSLContext`, which reads them from files only."""

from __future__ import annotations

import contextlib
import os
import secrets
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path

from asgi_tls.certificate.loaded import Certificate
from asgi_tls.certificate.material import out_of_descriptors
from asgi_tls.errors import CertificateError


def load_cert_chain(context: ssl.SSLContext, certificate: Certificate) -> None:
    """Load the bytes that were validated, not the files again: they may have changed since.

    Raises CertificateError where OpenSSL refuses what we accepted.
    """
    try:
        load_pair(context, certificate.chain_pem, certificate.key_pem)
    except ssl.SSLError as error:
        raise CertificateError(
            f"{certificate.source}: OpenSSL refuses the pair: {error.reason or error}",
            fix="Order a certificate with an ECDSA P-256 key, or RSA of 2048 bits or more.",
        ) from None


def load_pair(context: ssl.SSLContext, chain_pem: bytes, key_pem: bytes) -> None:
    """The same by PEM text, with an unencrypted key. Raises ssl.SSLError."""
    if _has_memory_files():
        with _in_memory(key_pem + chain_pem) as name:
            context.load_cert_chain(name)
        return
    # Elsewhere a private temporary file, with the key encrypted under a password that lives for this call.
    password = secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="asgi_tls-") as directory:
        path = Path(directory, "pair.pem")
        path.touch(mode=0o600)
        path.write_bytes(_encrypted(key_pem, password) + chain_pem)
        context.load_cert_chain(path, password=password)


def load_crls(context: ssl.SSLContext, crls: str) -> None:
    """Add revocation lists, PEM text, which `load_verify_locations` takes from a file alone. Raises ssl.SSLError."""
    if _has_memory_files():
        with _in_memory(crls.encode("ascii")) as name:
            context.load_verify_locations(name)
        return
    with tempfile.TemporaryDirectory(prefix="asgi_tls-") as directory:
        listed = Path(directory, "crls.pem")
        listed.write_text(crls, encoding="ascii")
        context.load_verify_locations(listed)


def _has_memory_files() -> bool:
    return hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir()


@contextlib.contextmanager
def _in_memory(data: bytes) -> Iterator[str]:
    """Memory with a file's name: it never reaches a disk. Raises TooManyOpenFilesError."""
    try:
        descriptor = os.memfd_create("asgi_tls", os.MFD_CLOEXEC)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            yield f"/proc/self/fd/{descriptor}"
    except OSError as error:  # of OpenSSL too, which opens the name
        if not isinstance(error, ssl.SSLError) and (found := out_of_descriptors(error)):
            raise found from error
        raise


def _encrypted(key_pem: bytes, password: str) -> bytes:
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(key_pem, password=None)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password.encode("ascii")),
    )
