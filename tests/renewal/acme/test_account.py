"""The account key: what RFC 7638 and RFC 8555 make of it."""

from __future__ import annotations

import josepy
import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given
from hypothesis import strategies as st
from pki import key_to_pem, make_key

from asgi_tls.renewal.acme.account import dns_value, new_account_key, thumbprint


def test_the_thumbprint_is_that_of_another_implementation() -> None:
    # Coordinates with leading zeros, one in 128 keys, keep their length.
    for _ in range(300):
        pem = new_account_key()
        other = josepy.JWK.load(pem).thumbprint(hash_function=SHA256)
        assert thumbprint(pem) == josepy.b64encode(other).decode()


def test_the_dns_value_is_that_of_rfc_8555() -> None:
    # The digest of a known string, as `printf %s a.b | openssl dgst -sha256 -binary | basenc --base64url` prints it.
    assert dns_value("a.b") == "LnM23I66h-9HLfVow1SCq_JXXcPl6sDFxiuP-urCyTQ"


@pytest.mark.parametrize("kind", ["p384", "rsa", "ed25519", "secp256k1"])
def test_another_kind_of_key_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match="not an ECDSA key on P-256"):
        thumbprint(key_to_pem(make_key(kind)))


def test_an_encrypted_key_is_refused() -> None:
    with pytest.raises(ValueError, match="without a password"):
        thumbprint(key_to_pem(make_key(), password=b"secret"))


@given(st.binary() | st.binary().map(lambda data: b"-----BEGIN PRIVATE KEY-----\n" + data))
def test_anything_else_is_refused_and_not_quoted(data: bytes) -> None:
    with pytest.raises(ValueError, match="^not a PEM private key without a password$"):
        thumbprint(data)
