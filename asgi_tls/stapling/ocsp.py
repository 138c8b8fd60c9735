"""OCSP requests and responses (RFC 6960, RFC 5019): pure functions on bytes.

Responses are verified more strictly than any client does, since all clients must accept them: signed by the issuer, or
by a responder whose certificate the issuer itself signed for that purpose, and never with SHA-1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, SignatureAlgorithmOID

from asgi_tls.certificate.chain import extension, issued_by, load_chain, name_of
from asgi_tls.certificate.material import Material
from asgi_tls.events import StaplingStatus

# The clock of a responder may be ahead of ours by this much, as with OpenSSL and NSS.
_SKEW: Final = timedelta(minutes=5)
# Without nextUpdate, newer information is available at any time (RFC 6960 section 4.2.2.1): the lifetime is short.
_WITHOUT_NEXT_UPDATE: Final = timedelta(hours=1)

# RFC 9155 for TLS; RFC 6960 is older than that.
_WEAK: Final = frozenset({"sha1", "md5"})


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The result of verifying a response. `der` is the response itself if it is good, else None.

    It must not be stapled after `next_update`. Times are aware.
    """

    status: StaplingStatus
    msg: str
    der: bytes | None = field(default=None, repr=False)
    this_update: datetime | None = None
    next_update: datetime | None = None
    responder: str | None = None

    @property
    def is_good(self) -> bool:
        return self.der is not None


@dataclass(frozen=True)
class Subject:
    """A certificate, and its issuer."""

    certificate: x509.Certificate
    issuer: x509.Certificate


def subject_of(chain: Sequence[x509.Certificate]) -> Subject | None:
    """The first certificate of a chain and its issuer, None if the issuer is missing."""
    leaf, *others = chain
    issuer = next((one for one in others if issued_by(leaf, one)), None)
    return None if issuer is None else Subject(leaf, issuer)


def subject_in(chain_pem: bytes) -> Subject | None:
    """The same for PEM text that has been validated."""
    return subject_of(load_chain(Material("certificate", chain_pem)))


def build_request(subject: Subject) -> bytes:
    """An OCSPRequest in DER. Its certID uses SHA-1 (RFC 5019 section 2.1.1), which is not a matter of security here."""
    builder = ocsp.OCSPRequestBuilder().add_certificate(subject.certificate, subject.issuer, hashes.SHA1())  # noqa: S303
    return builder.build().public_bytes(Encoding.DER)


def judge(der: bytes, subject: Subject, now: datetime) -> Answer:
    """Verify the response `der` for the certificate at `now` (aware). Never raises, whatever the bytes are."""
    try:
        return _judge(der, subject, now)
    except _Refused as refused:
        return Answer(status=refused.status, msg=str(refused))
    except Exception as error:  # noqa: BLE001 -- a parser at the border: whatever it raises is the response's fault
        return Answer(status="invalid", msg=f"the response cannot be parsed ({type(error).__name__})")


class _Refused(Exception):  # noqa: N818 -- a verdict, not a fault of ours
    def __init__(self, msg: str, status: StaplingStatus = "invalid") -> None:
        super().__init__(msg)
        self.status = status


def _judge(der: bytes, subject: Subject, now: datetime) -> Answer:
    response = ocsp.load_der_ocsp_response(der)
    if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        raise _Refused(f"the responder returned the error {response.response_status.name.lower()}", "refused")
    signer = _signer(response, subject.issuer, now)
    _verify(response, signer)
    single = next((one for one in response.responses if _is_about(one, subject)), None)
    if single is None:
        raise _Refused("the response is about another certificate")
    this, until = single.this_update_utc, single.next_update_utc
    until = this + _WITHOUT_NEXT_UPDATE if until is None else until
    if this > now + _SKEW:
        raise _Refused(f"the response is valid from {_date(this)}, in the future: check the clock")
    if until <= now:
        raise _Refused(f"the response expired on {_date(until)}", "expired")
    if until <= this:
        raise _Refused("the response ends before it begins")
    facts: dict[str, Any] = {"this_update": this, "next_update": until, "responder": name_of(signer)}
    if single.certificate_status is ocsp.OCSPCertStatus.REVOKED:
        when, reason = single.revocation_time_utc, single.revocation_reason
        why = f" ({reason.value})" if reason is not None else ""
        at = f" on {_date(when)}" if when is not None else ""
        return Answer(status="revoked", msg=f"the CA has revoked the certificate{at}{why}", **facts)
    if single.certificate_status is ocsp.OCSPCertStatus.UNKNOWN:
        return Answer(status="unknown", msg="the responder does not know the certificate", **facts)
    return Answer(status="good", msg=f"valid until {_date(until)}", der=der, **facts)


def _signer(response: ocsp.OCSPResponse, issuer: x509.Certificate, now: datetime) -> x509.Certificate:
    """The certificate whose key must have signed it: the issuer or its delegate (RFC 6960 section 4.2.2.2)."""
    if _is_responder(response, issuer):
        return issuer
    delegate = next((one for one in response.certificates if _is_responder(response, one)), None)
    if delegate is None:
        raise _Refused("it is not signed by the issuer, and does not contain the certificate of its signer")
    who = name_of(delegate)
    if _is_weak(delegate.signature_hash_algorithm):
        raise _Refused(f"the certificate of the responder {who} is signed with SHA-1")
    if not issued_by(delegate, issuer):
        raise _Refused(f"it is signed by {who}, whose certificate the issuer did not sign")
    if not delegate.not_valid_before_utc <= now < delegate.not_valid_after_utc:
        raise _Refused(f"the certificate of the responder {who} is not valid now")
    if ExtendedKeyUsageOID.OCSP_SIGNING not in (extension(delegate, x509.ExtendedKeyUsage) or ()):
        raise _Refused(f"the certificate of {who} does not allow signing OCSP responses (id-kp-OCSPSigning)")
    usage = extension(delegate, x509.KeyUsage)
    if usage is not None and not usage.digital_signature:
        raise _Refused(f"the certificate of {who} does not allow digital signatures (keyUsage)")
    return delegate


def _is_responder(response: ocsp.OCSPResponse, certificate: x509.Certificate) -> bool:
    if response.responder_key_hash is not None:
        # The same SHA-1 of the key's bits that is a usual subjectKeyIdentifier.
        return response.responder_key_hash == x509.SubjectKeyIdentifier.from_public_key(certificate.public_key()).digest
    return response.responder_name == certificate.subject


def _verify(response: ocsp.OCSPResponse, signer: x509.Certificate) -> None:
    key: Any = signer.public_key()
    signed, signature = response.tbs_response_bytes, response.signature
    try:
        if isinstance(key, (ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)):
            key.verify(signature, signed)
            return
        algorithm = response.signature_hash_algorithm
        if algorithm is None or _is_weak(algorithm):
            raise _Refused("it is signed with SHA-1 or another weak algorithm")
        if response.signature_algorithm_oid == SignatureAlgorithmOID.RSASSA_PSS:
            raise _Refused("it is signed with RSASSA-PSS, which is not supported")
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, signed, padding.PKCS1v15(), algorithm)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, signed, ec.ECDSA(algorithm))
        else:
            raise _Refused("it is signed with an unsupported type of key")
    except UnsupportedAlgorithm:
        raise _Refused("it is signed with an unsupported algorithm") from None
    except InvalidSignature:
        raise _Refused(f"the signature of {name_of(signer)} is not valid") from None


def _is_about(single: ocsp.OCSPSingleResponse, subject: Subject) -> bool:
    """Whether its certID (RFC 6960 section 4.1.1) is that of our request, with the hash that it uses."""
    if single.serial_number != subject.certificate.serial_number:
        return False
    builder = ocsp.OCSPRequestBuilder()
    try:
        ours = builder.add_certificate(subject.certificate, subject.issuer, single.hash_algorithm).build()
    except (UnsupportedAlgorithm, ValueError):
        return False
    return (ours.issuer_name_hash, ours.issuer_key_hash) == (single.issuer_name_hash, single.issuer_key_hash)


def _is_weak(algorithm: hashes.HashAlgorithm | None) -> bool:
    return algorithm is not None and algorithm.name in _WEAK


def _date(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
