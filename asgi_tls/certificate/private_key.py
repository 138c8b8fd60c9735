"""The private key: find it, decrypt it, check its type and strength, compare it with the certificate.

No message repeats a parser's error about a key, which may quote the bytes of the key.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from asgi_tls.certificate.password import Password, resolve_password
from asgi_tls.certificate.pem import CERTIFICATE_LABELS, KEY_LABELS, Block, wrong_label
from asgi_tls.errors import NotPEMError, PasswordError
from asgi_tls.events import Notice

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes

    from asgi_tls.certificate.material import Material

# RFC 8446 section 4.2.3 has signature schemes for these curves alone, and RFC 9325 section 4.5 asks for RSA of 2048
# bits. The Brainpool schemes of RFC 8734 are left out: no browser has them.
CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
MIN_RSA_BITS = 2048

_MESSAGE = b"asgi_tls"

_RSA_PSS = x509.ObjectIdentifier("1.2.840.113549.1.1.10")


@dataclass(frozen=True)
class LoadedKey:
    """A private key, and warnings about how it is stored."""

    key: PrivateKeyTypes = field(repr=False)
    warnings: tuple[Notice, ...] = ()


def load_key(material: Material, blocks: tuple[Block, ...], password: Password) -> LoadedKey:
    """The first private key among `blocks`. Raises CertificateError."""
    block = next((block for block in blocks if block.label in KEY_LABELS), None)
    if block is None:
        raise _no_key(material, blocks)
    if not block.encrypted and block.label != "ENCRYPTED PRIVATE KEY":
        unused = Notice("unused-password", f"{material.name}: a password was given, but the key is not encrypted")
        return LoadedKey(_parse(material, block, None), () if password is None else (unused,))
    secret, warnings = resolve_password(password, material)
    if not secret:
        raise material.error(
            PasswordError,
            "is encrypted, but no password was given",
            f"Set {{password}}, or remove the encryption: `openssl pkey -in {material.name} -out plain.pem`.",
            "password",
        )
    return LoadedKey(_parse(material, block, secret), warnings)


def _parse(material: Material, block: Block, secret: bytes | None) -> PrivateKeyTypes:
    try:
        return _usable(load_pem_private_key(block.text, secret, unsafe_skip_rsa_key_validation=True))
    except UnsupportedAlgorithm:
        problem = f"contains a key on line {block.line} whose type or encryption is not supported"
        fix = "Make a new key (`openssl ecparam -name prime256v1 -genkey -noout`), and request a certificate for it."
        raise material.error(NotPEMError, problem, fix) from None
    except Exception:  # noqa: BLE001 - a parser at the border: whatever it raises is the file's fault
        if secret is not None:
            raise material.error(
                PasswordError,
                "cannot be decrypted: the password is wrong, or the key is damaged",
                f"Check it with `openssl pkey -in {material.name} -noout`.",
            ) from None
        raise material.error(
            NotPEMError,
            f"contains a {block.label} on line {block.line} that cannot be parsed as a key",
            "Copy the file again, or make a new key and request a certificate for it.",
        ) from None


def _usable(key: PrivateKeyTypes) -> PrivateKeyTypes:
    """The same key. Raises if an RSA key does not verify its own signature, as a damaged one does not.

    This replaces the default validation of `cryptography`, which tests both primes for primality and so holds the
    interpreter lock for 40 ms with 2048 bits, and far longer with 4096, in a running server.
    """
    if isinstance(key, rsa.RSAPrivateKey):
        signature = key.sign(_MESSAGE, PKCS1v15(), hashes.SHA256())
        key.public_key().verify(signature, _MESSAGE, PKCS1v15(), hashes.SHA256())
    return key


def export_key(key: PrivateKeyTypes) -> bytes:
    """Unencrypted PKCS#8 PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def spki(key: PublicKeyTypes) -> bytes:
    """SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7), DER."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def key_type(certificate: x509.Certificate) -> str | None:
    """The type of its key, None for what TLS clients do not accept."""
    if certificate.public_key_algorithm_oid == _RSA_PSS:  # rsa_pss_pss_*: no browser, and the key loses its mark here
        return None
    try:
        return type_of_key(certificate.public_key())
    except (UnsupportedAlgorithm, ValueError):
        return None


def type_of_key(key: PublicKeyTypes) -> str | None:
    """'ECDSA P-256', 'RSA 2048', 'Ed25519' or 'Ed448'; None for what TLS clients do not accept."""
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}" if key.key_size >= MIN_RSA_BITS else None
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"ECDSA {CURVES[key.curve.name]}" if key.curve.name in CURVES else None
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "Ed25519"
    return "Ed448" if isinstance(key, ed448.Ed448PublicKey) else None


def describe_key(certificate: x509.Certificate) -> str:
    """The type of a key that `key_type` has no name for."""
    if certificate.public_key_algorithm_oid == _RSA_PSS:
        return "an RSASSA-PSS key"
    try:
        key = certificate.public_key()
    except (UnsupportedAlgorithm, ValueError):
        return f"a key of the type {certificate.public_key_algorithm_oid.dotted_string}"
    if isinstance(key, rsa.RSAPublicKey):
        return f"an RSA key of {key.key_size} bits"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"a key on the curve {key.curve.name}"
    return f"a {type(key).__name__.removesuffix('PublicKey')} key"


def _no_key(material: Material, blocks: tuple[Block, ...]) -> NotPEMError:
    if material.role == "certificate":  # no key file was named
        return material.error(
            NotPEMError,
            "contains no private key, and no key file was given",
            "Set {keyfile} to the file with the key.",
            "keyfile",
        )
    if any(block.label in CERTIFICATE_LABELS for block in blocks):
        return material.error(
            NotPEMError,
            "is given as the key, but contains a certificate and no private key",
            "Use the key's own file; Let's Encrypt calls it privkey.pem.",
        )
    return wrong_label(material, blocks, "a private key")
