"""More certificates in the file than a client needs: served, with a warning that names them."""

from __future__ import annotations

import ssl
from dataclasses import replace
from functools import cache

import pytest
from cryptography import x509
from handshakes import client
from memory import handshake
from pki import DAY, PKI, Pair

from asgi_tls import ServerTLS
from asgi_tls.certificate import PEMData


@cache
def one() -> PKI:
    return PKI("One")


@cache
def two() -> PKI:
    return PKI("Two")


@cache
def leaf() -> Pair:
    return one().leaf("localhost")


@cache
def certificates() -> dict[str, x509.Certificate]:
    now = one().now
    old = two().ca("One Root", issuer=two().root, key=one().root.key, not_before=now - 90 * DAY, not_after=now - DAY)
    return {
        "leaf": leaf().certificate,
        "intermediate": one().intermediate.certificate,
        "root": one().root.certificate,
        "root by two": two().ca("One Root", issuer=two().root, key=one().root.key).certificate,
        "old root by two": old.certificate,
        "root two": two().root.certificate,
        "stranger": two().intermediate.certificate,
        "expired": two().ca("Expired", issuer=two().root, not_before=now - 9 * DAY, not_after=now - DAY).certificate,
        "twin": one().ca("One Root").certificate,
    }


ROOT = "certificate {} (CN=One Root) is a root, which no client needs; remove it"

# What follows the leaf, and the warnings.
SERVED: dict[str, tuple[list[str], list[str]]] = {
    "nothing more": (["intermediate"], []),
    "the root": (["intermediate", "root"], [ROOT.format(3)]),
    "the root between": (["root", "intermediate"], [ROOT.format(2)]),
    "both halves of a cross-signed root": (["intermediate", "root by two", "root"], [ROOT.format(4)]),
    "both halves, the other way round": (
        ["intermediate", "root", "root by two"],
        [
            ROOT.format(3),
            "certificate 4 (CN=One Root) is another certificate of the issuer of certificate 2; "
            "clients use one of the two",
        ],
    ),
    "cross-signed, up to the other root": (
        ["intermediate", "root by two", "root two"],
        ["certificate 4 (CN=Two Root) is a root, which no client needs; remove it"],
    ),
    "a half that has expired": (
        ["intermediate", "old root by two", "root"],
        [f"certificate 3 (CN=One Root) expired on {one().now - DAY:%Y-%m-%d}, and no link needs it; remove it",
         ROOT.format(4)],
    ),
    "the root of others": (
        ["intermediate", "root two"], ["certificate 3 (CN=Two Root) is a root, which no client needs; remove it"],
    ),
    "a root of the same name": (["intermediate", "twin"], [ROOT.format(3)]),
    "an intermediate of others": (
        ["intermediate", "stranger"],
        ["certificate 3 (CN=Two Intermediate) issued none of the other certificates in the file; remove it"],
    ),
    "one of others between": (
        ["stranger", "intermediate"],
        ["certificate 2 (CN=Two Intermediate) issued none of the other certificates in the file; remove it"],
    ),
    "one that has expired": (
        ["intermediate", "expired"],
        [f"certificate 3 (CN=Expired) expired on {one().now - DAY:%Y-%m-%d}, and no link needs it; remove it"],
    ),
    "the leaf twice": (["leaf", "intermediate"], ["certificate 2 (CN=localhost) repeats certificate 1; remove it"]),
    "the intermediate twice": (
        ["intermediate", "intermediate"], ["certificate 3 (CN=One Intermediate) repeats certificate 2; remove it"],
    ),
}  # fmt: skip


def test_the_half_of_a_ca_that_comes_in_order_counts() -> None:
    upper = one().ca("Upper", issuer=one().root)
    other = two().ca("Upper", issuer=two().root, key=upper.key).certificate
    lower = one().ca("Lower", issuer=upper)
    pair = one().leaf("localhost", issuer=lower)
    pair = replace(pair, issuers=(other, lower.certificate, upper.certificate))
    assert PEMData(pair.chain_pem, pair.key_pem).load().warnings == (
        "certificate 2 (CN=Upper) is another certificate of the issuer of certificate 3; clients use one of the two",
    )


@pytest.mark.parametrize(("names", "warnings"), SERVED.values(), ids=SERVED)
def test_what_is_served(names: list[str], warnings: list[str]) -> None:
    pair = replace(leaf(), issuers=tuple(certificates()[name] for name in names))
    source = PEMData(pair.chain_pem, pair.key_pem)
    certificate = source.load()
    assert list(certificate.warnings) == warnings
    assert certificate.chain_pem == pair.chain_pem
    server = ServerTLS(source, listeners=[]).create_context()
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        peer = client(ca=one().root_pem.decode(), minimum=version, maximum=version)
        assert handshake(server, peer).client.getpeercert(binary_form=True) == pair.der
    # What it is there for. After the root it is of no use: OpenSSL's clients take the first issuer that they find.
    if "root by two" in names and "root" not in names[: names.index("root by two")]:
        assert handshake(server, client(ca=two().root_pem.decode())).client.version() == "TLSv1.3"


def test_a_long_chain_with_large_keys() -> None:
    """Nobody serves it on purpose; it takes its time to check, and no more."""
    issuer = PKI("Large", key="rsa").root
    for level in range(8):
        issuer = one().ca(f"Level {level}", issuer=issuer, key="rsa")
    assert one().leaf(issuer=issuer).issuers[0].subject.rfc4514_string() == "CN=Level 7"
    pair = one().leaf("localhost", issuer=issuer)
    assert PEMData(pair.chain_pem, pair.key_pem).load().warnings == ()
