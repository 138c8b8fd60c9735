"""Trust and names, judged without a network."""

from __future__ import annotations

from typing import Any

import pytest
from observations import found, seen
from pki import PKI

from asgi_tls.audit.probes.handshakes import Trust
from asgi_tls.audit.probes.observed import Observed, ServedChain, Unreadable


def unreadable(position: int, *, trusted: bool | None = None) -> Unreadable:
    trust = None if trusted is None else Trust(trusted=trusted)
    return Unreadable(position=position, reason="ValueError: odd", trust=trust)


@pytest.mark.parametrize(
    ("changes", "expected", "grade"),
    [
        ({"chains": ()}, set(), "A"),
        ({"unreadable": (unreadable(1, trusted=True),)}, {"certificate-unreadable"}, "B"),
        ({"unreadable": (unreadable(2),)}, {"certificate-unreadable"}, "B"),
        ({"unreadable": (unreadable(1, trusted=False),)}, {"certificate-unreadable", "not-trusted"}, "T"),
    ],
)
def test_findings_and_grade(changes: dict[str, Any], expected: set[str], grade: str) -> None:
    assert found(seen(**changes)) == (expected, grade)


@pytest.mark.parametrize("digest", ["sha256", "sha1"])
def test_a_root_that_is_sent(digest: str) -> None:
    """Those of large CAs are still signed with SHA-1."""
    pki = PKI("Large", key="rsa")
    root = pki.ca("Old Root", key="rsa", signature=digest)
    pair = pki.leaf("site.example", issuer=pki.ca("Issuer", issuer=root)).with_more(root.certificate)
    chain = ServedChain(
        certificates=(pair.certificate, *pair.issuers), sent=3, staple=None, staple_state="absent", trust=None
    )
    assert "chain-root" in found(seen(chains=(chain,)))[0]


def untrusted(pair: Any, *, own_ca: bool, reason: str = "unable to get local issuer certificate") -> Observed:
    trust = Trust(trusted=False, code=18 if "self-signed" in reason else 20, reason=reason)
    chain = ServedChain(
        certificates=(pair.certificate, *pair.issuers), sent=2, staple=None, staple_state="absent", trust=trust
    )
    return seen(chains=(chain,), own_ca=own_ca)


def test_trust_and_what_is_left_of_it_with_insecure() -> None:
    pki = PKI("Unknown")
    name = "site.example"
    alone = untrusted(pki.leaf(name, self_signed=True), own_ca=False, reason="self-signed certificate")
    root_signed = pki.leaf(name, intermediate=False)
    public = pki.leaf(name, ca_issuers="http://ca.example/issuer.der").alone()
    cases = [
        (untrusted(root_signed, own_ca=False), {"not-trusted"}, set()),
        (untrusted(pki.leaf(name).alone(), own_ca=True), {"chain-incomplete"}, {"chain-incomplete"}),
        (untrusted(public, own_ca=False), {"chain-incomplete"}, {"chain-incomplete"}),
        (untrusted(pki.leaf(name), own_ca=False), {"not-trusted"}, set()),
        (alone, {"self-signed"}, set()),
    ]
    for observed, strict, lenient in cases:
        assert found(observed) == (strict, "T")
        assert found(observed, trust_matters=False) == (lenient, "B" if lenient else "A+")
