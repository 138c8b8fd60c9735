"""What a response must be to be stapled, by table, and whatever else may come."""

from __future__ import annotations

import re
from datetime import UTC, timedelta

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st
from pki import DAY, PKI, Pair
from responder import HOUR, respond, signer

from asgi_tls.stapling.ocsp import Answer, Subject, build_request, judge, subject_in, subject_of

PKI_ = PKI("Stapling")
LEAF = PKI_.leaf("localhost")
OTHER_LEAF = PKI_.leaf("localhost")
FOREIGN = PKI("Stapling")  # the same names, other keys
ISSUER = PKI_.intermediate
SUBJECT = Subject(LEAF.certificate, ISSUER.certificate)
NOW = PKI_.now.replace(microsecond=0)  # as DER has it
DELEGATE = signer(PKI_)
MINUTE = timedelta(minutes=1)


def answer(der: bytes, subject: Subject = SUBJECT) -> Answer:
    return judge(der, subject, NOW)


def made(**how: object) -> bytes:
    return respond(LEAF.certificate, ISSUER, now=NOW, **how)  # type: ignore[arg-type]


GOOD = {
    "by the issuer": {},
    "responder by name": {"by_name": True},
    "delegated": {"by": DELEGATE},
    "delegated, by name": {"by": DELEGATE, "by_name": True},
    "delegated, RSA": {"by": signer(PKI_, key="rsa")},
    "delegated, Ed25519": {"by": signer(PKI_, key="ed25519")},
    "SHA-256 in the certID": {"certid": hashes.SHA256()},
    "SHA-384": {"digest": hashes.SHA384()},
    "a clock that is a little ahead": {"this_update": 5 * MINUTE, "next_update": HOUR},
    "without nextUpdate": {"this_update": -MINUTE, "next_update": None},
    "its last minute": {"next_update": MINUTE},
}


@pytest.mark.parametrize("how", GOOD.values(), ids=GOOD)
def test_good(how: dict[str, object]) -> None:
    der = made(**how)
    found = answer(der)
    assert (found.status, found.is_good, found.der) == ("good", True, der), found
    assert found.this_update is not None
    assert found.next_update is not None
    assert found.this_update.tzinfo is UTC


REVOKED, UNKNOWN = ocsp.OCSPCertStatus.REVOKED, ocsp.OCSPCertStatus.UNKNOWN

BAD = {
    "revoked": ({"status": REVOKED}, "revoked", "has revoked the certificate on .* \\(keyCompromise\\)"),
    "revoked for no reason": ({"status": REVOKED, "reason": None}, "revoked", "revoked the certificate on .* UTC$"),
    "revoked, by a delegate": ({"status": REVOKED, "by": DELEGATE}, "revoked", "has revoked"),
    "unknown": ({"status": UNKNOWN}, "unknown", "^the responder does not know the certificate$"),
    "expired": ({"this_update": -8 * DAY, "next_update": -MINUTE}, "expired", "expired on"),
    "expired just now": ({"next_update": timedelta(0)}, "expired", "expired on"),
    "old, without nextUpdate": ({"this_update": -2 * HOUR, "next_update": None}, "expired", "expired on"),
    "revoked long ago, expired": (
        {"status": REVOKED, "this_update": -8 * DAY, "next_update": -DAY}, "expired", "expired on",
    ),
    "in the future": (
        {"this_update": 5 * MINUTE + timedelta(seconds=1), "next_update": DAY}, "invalid", "in the future",
    ),
    "far in the future": ({"this_update": HOUR, "next_update": DAY}, "invalid", "in the future"),
    "signed by the leaf": ({"by": LEAF}, "invalid", "does not allow signing OCSP responses"),
    "signed by the root": ({"by": PKI_.root}, "invalid", "whose certificate the issuer did not sign"),
    "signed by another CA's delegate": ({"by": signer(FOREIGN)}, "invalid", "the issuer did not sign"),
    "signed by another CA of the same name": ({"by": FOREIGN.intermediate, "by_name": True}, "invalid", "signature"),
    "no certificate of the delegate": ({"by": DELEGATE, "attach": False}, "invalid", "the certificate of its signer"),
    "a delegate that has expired": (
        {"by": signer(PKI_, not_before=NOW - 9 * DAY, not_after=NOW - DAY)}, "invalid", "is not valid now",
    ),
    "a delegate that is not valid yet": ({"by": signer(PKI_, not_before=NOW + DAY)}, "invalid", "is not valid now"),
    "a delegate for client authentication": (
        {"by": signer(PKI_, eku=(ExtendedKeyUsageOID.CLIENT_AUTH,))}, "invalid", "id-kp-OCSPSigning",
    ),
    "a delegate for any purpose": (
        {"by": signer(PKI_, eku=(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,))}, "invalid", "id-kp-OCSPSigning",
    ),
    "a delegate without a purpose": ({"by": signer(PKI_, eku=None)}, "invalid", "id-kp-OCSPSigning"),
    "a delegate whose key is not for signatures": (
        {"by": signer(PKI_, digital_signature=False)}, "invalid", "keyUsage",
    ),
    "a delegate of a delegate": ({"by": signer(PKI_, issuer=DELEGATE)}, "invalid", "the issuer did not sign"),
    "a delegate's certificate with SHA-1": ({"by": signer(PKI_, key="rsa", signature="sha1")}, "invalid", "SHA-1"),
}  # fmt: skip


@pytest.mark.parametrize(("how", "status", "says"), BAD.values(), ids=BAD)
def test_bad(how: dict[str, object], status: str, says: str) -> None:
    found = answer(made(**how))
    assert (found.status, found.is_good) == (status, False), found
    assert re.search(says, found.msg)
    # When it was said and by whom is told where the CA itself has said it.
    said = status in {"revoked", "unknown"}
    assert (found.this_update, found.responder is not None) == (NOW - HOUR if said else None, said)


def test_a_signature_by_another_key() -> None:
    for by in (OTHER_LEAF, LEAF, PKI_.root, FOREIGN.intermediate):
        found = answer(_signed_again(made(), b"", b"", by))
        assert (found.status, found.msg) == ("invalid", "the signature of CN=Stapling Intermediate is not valid")


def test_a_signature_with_sha1() -> None:
    found = answer(_signed_again(made(), b"", b"", ISSUER, digest=hashes.SHA1()))
    assert found.status == "invalid"
    assert "SHA-1" in found.msg


def test_about_another_certificate() -> None:
    for certificate, issuer, signed_by in (
        (OTHER_LEAF.certificate, ISSUER, ISSUER),  # another serial number
        (LEAF.certificate, PKI_.root, ISSUER),  # the same, of another issuer
        (LEAF.certificate, FOREIGN.intermediate, ISSUER),  # of an issuer with the same name and another key
    ):
        der = respond(certificate, issuer, by=signed_by, now=NOW)
        found = answer(der)
        assert (found.status, found.msg) == ("invalid", "the response is about another certificate")


def test_one_of_several() -> None:
    """A response may be about other certificates as well (RFC 6960 section 4.2.1)."""
    # cryptography makes responses with one only: take two, and put the second into the first.
    first, second = (respond(one.certificate, ISSUER, now=NOW) for one in (OTHER_LEAF, LEAF))
    singles = [_single(der) for der in (first, second)]
    joined = _signed_again(first, singles[0], b"".join(singles), ISSUER)
    found = answer(joined)
    assert found.status == "good", found
    assert judge(joined, Subject(OTHER_LEAF.certificate, ISSUER.certificate), NOW).status == "good"


@pytest.mark.parametrize(
    "status", [one for one in ocsp.OCSPResponseStatus if one is not ocsp.OCSPResponseStatus.SUCCESSFUL]
)
def test_an_error_of_the_responder(status: ocsp.OCSPResponseStatus) -> None:
    der = ocsp.OCSPResponseBuilder.build_unsuccessful(status).public_bytes(Encoding.DER)
    found = answer(der)
    assert (found.status, found.msg) == ("refused", f"the responder returned the error {status.name.lower()}")


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400))
def test_garbage(data: bytes) -> None:
    assert answer(data).status == "invalid"


_GOOD_DER = made(by=DELEGATE)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(_GOOD_DER) - 1), st.integers(1, 255))
def test_a_flipped_byte_never_changes_what_is_said(at: int, by: int) -> None:
    flipped = bytearray(_GOOD_DER)
    flipped[at] ^= by
    found = answer(bytes(flipped))
    # A byte of the unsigned frame may be of no account; what is signed must still be what it was.
    if found.is_good:
        one, other = (ocsp.load_der_ocsp_response(bytes(each)) for each in (flipped, _GOOD_DER))
        assert one.tbs_response_bytes == other.tbs_response_bytes
    assert found.status in {"good", "invalid", "refused"}


@settings(max_examples=50, deadline=None)
@given(st.integers(0, len(_GOOD_DER) - 1))
def test_a_response_that_is_cut_short(length: int) -> None:
    assert answer(_GOOD_DER[:length]).status == "invalid"


def test_the_request_is_what_openssl_makes_of_it() -> None:
    request = ocsp.load_der_ocsp_request(build_request(SUBJECT))
    assert request.serial_number == LEAF.certificate.serial_number
    assert isinstance(request.hash_algorithm, hashes.SHA1)
    assert list(request.extensions) == []  # no nonce: RFC 5019 section 2.1.1


def test_the_issuer_is_found_in_the_chain() -> None:
    assert subject_in(LEAF.chain_pem) == SUBJECT
    assert subject_in(LEAF.cert_pem) is None
    assert subject_of([LEAF.certificate, PKI_.root.certificate, ISSUER.certificate]) == SUBJECT
    from_root = PKI_.leaf("localhost", intermediate=False)
    assert subject_of([from_root.certificate, PKI_.root.certificate]) is not None


def test_the_message_holds_one_line() -> None:
    """A name in a certificate must not forge a line of a log."""
    builder = PKI_.leaf("x", common_name="x\nOCSP response: good", eku=None)
    found = answer(made(by=builder))
    assert "\n" not in found.msg


def _tlv(data: bytes, at: int = 0) -> tuple[int, int]:
    """Where the value of the element at `at` begins and ends."""
    length = data[at + 1]
    start = at + 2
    if length & 0x80:
        size = length & 0x7F
        length, start = int.from_bytes(data[start : start + size]), start + size
    return start, start + length


def _wrapped(tag: int, data: bytes) -> bytes:
    if len(data) < 128:
        return bytes([tag, len(data)]) + data
    size = (len(data).bit_length() + 7) // 8
    return bytes([tag, 0x80 | size]) + len(data).to_bytes(size) + data


def _single(der: bytes) -> bytes:
    """The SingleResponse in a response: the element of the list that is the last of the signed part."""
    signed = ocsp.load_der_ocsp_response(der).tbs_response_bytes
    at, end = _tlv(signed)
    while signed[at] != 0x30:
        at = _tlv(signed, at)[1]
    start, stop = _tlv(signed, at)
    assert stop <= end
    return signed[start:stop]


_ECDSA_WITH = {"sha256": "300a06082a8648ce3d040302", "sha1": "300906072a8648ce3d0401"}


def _signed_again(der: bytes, old: bytes, new: bytes, by: Pair, digest: hashes.HashAlgorithm | None = None) -> bytes:
    """The same response with other SingleResponses and another signature, which cryptography does not make."""
    digest = digest or hashes.SHA256()
    signed = ocsp.load_der_ocsp_response(der).tbs_response_bytes
    start, end = _tlv(signed)
    tbs = _wrapped(0x30, signed[start:end].replace(_wrapped(0x30, old), _wrapped(0x30, new)))
    algorithm = bytes.fromhex(_ECDSA_WITH[digest.name])
    signature = by.key.sign(tbs, ec.ECDSA(digest))
    basic = _wrapped(0x30, tbs + algorithm + _wrapped(0x03, b"\0" + signature))
    kind = bytes.fromhex("06092b0601050507300101")  # id-pkix-ocsp-basic
    return _wrapped(0x30, b"\x0a\x01\x00" + _wrapped(0xA0, _wrapped(0x30, kind + _wrapped(0x04, basic))))
