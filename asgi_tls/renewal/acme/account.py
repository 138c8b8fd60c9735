"""The key of an ACME account, and what answers challenges: one key for each storage, whatever the CA."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey


def new_account_key() -> bytes:
    """A new ECDSA key on P-256 (ES256, which every CA takes), PEM. Keep it with mode 0600."""
    from cryptography.hazmat.primitives.asymmetric import ec

    from asgi_tls.certificate.private_key import export_key

    return export_key(ec.generate_private_key(ec.SECP256R1()))


def load_account_key(pem: bytes) -> EllipticCurvePrivateKey:
    """Raises ValueError for anything but such a key; the text has nothing of it."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("not a PEM private key without a password") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("not an ECDSA key on P-256")  # noqa: TRY004 -- the value of the PEM text, not its type
    return key


def thumbprint(pem: bytes) -> str:
    """The thumbprint of the account's public key (RFC 7638), which is the second half of every key authorization.

    Raises ValueError.
    """
    numbers = load_account_key(pem).public_key().public_numbers()
    # RFC 7638 section 3.2: the required members, in this order, without spaces.
    members = {"crv": "P-256", "kty": "EC", "x": _coordinate(numbers.x), "y": _coordinate(numbers.y)}
    return base64url(hashlib.sha256(json.dumps(members, separators=(",", ":")).encode()).digest())


def stored_as(directory: str) -> str:
    """The key of the storage that has the URL of the account with the CA of this directory URL, in JSON."""
    return f"accounts/{hashlib.sha256(directory.encode('utf-8')).hexdigest()[:16]}.json"


def dns_value(key_authorization: str) -> str:
    """What the TXT record of a dns-01 challenge holds (RFC 8555 section 8.4)."""
    return base64url(hashlib.sha256(key_authorization.encode("ascii")).digest())


def base64url(data: bytes) -> str:
    """Without padding (RFC 8555 section 6.1)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _coordinate(number: int) -> str:
    return base64url(number.to_bytes(32, "big"))
