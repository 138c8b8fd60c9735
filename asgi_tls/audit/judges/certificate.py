"""Findings about the certificates that were served. Dates and names are judged here, trust by OpenSSL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID as AccessOID
from cryptography.x509.oid import ExtendedKeyUsageOID

from asgi_tls.audit.judges.findings import Finding
from asgi_tls.audit.probes.observed import Observed, ServedChain
from asgi_tls.certificate.chain import (
    access_url,
    has_timestamps,
    is_ca,
    is_self_signed,
    name_of,
    seems_issued_by,
    weak_signature,
)
from asgi_tls.certificate.loaded import lifetime_left
from asgi_tls.certificate.private_key import describe_key, key_type
from asgi_tls.certificate.validation import must_staple, subject_alt_names
from asgi_tls.errors import some
from asgi_tls.hostnames import covers, names_for
from asgi_tls.renewal.expiry import stage_at

_LONGEST_CHAIN: Final = 10
_APPLE: Final = timedelta(days=825)
_UNUSUAL: Final = frozenset({"Ed25519", "Ed448", "ECDSA P-521"})
_BY_SEVERITY: Final = {"critical": "expiring-soon", "error": "expiring-soon", "warning": "expiring"}


def judge_certificates(seen: Observed, *, trust_matters: bool = True) -> Iterator[Finding]:
    """Every chain of the server. Without `trust_matters`, whether it is trusted is not judged."""
    found: dict[Finding, None] = {}
    for served in seen.chains:
        found |= dict.fromkeys(_chain(served))
        found |= dict.fromkeys(_trust(served, trust_matters=trust_matters, own_ca=seen.own_ca))
        found |= dict.fromkeys(_names(served.leaf, seen.target.host))
        found |= dict.fromkeys(_dates(served.certificates, seen.at))
        found |= dict.fromkeys(_strength(served.certificates))
        found |= dict.fromkeys(_usage(served.leaf))
        found |= dict.fromkeys(_staple(served, seen.at))
    yield from found
    for one in seen.unreadable:
        yield Finding("certificate-unreadable", f"certificate {one.position}: {one.reason}")
        if trust_matters and one.trust is not None and not one.trust.trusted:
            yield Finding("not-trusted", one.trust.reason)


def path_of(certificates: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """The leaf and its issuers as far as they were sent, in the right order."""
    path, rest = [certificates[0]], list(certificates[1:])
    while not is_self_signed(path[-1]):
        issuer = next((one for one in rest if seems_issued_by(path[-1], one)), None)
        if issuer is None:
            break
        rest.remove(issuer)
        path.append(issuer)
    return path


def _chain(served: ServedChain) -> Iterator[Finding]:
    certificates = served.certificates
    path = path_of(certificates)
    if served.sent > _LONGEST_CHAIN:
        yield Finding("chain-long", f"{served.sent} certificates")
    if list(certificates[: len(path)]) != path:
        yield Finding("chain-order", " > ".join(name_of(one) for one in certificates))
    if len(certificates) > len(path):
        surplus = [name_of(one) for one in certificates if one not in path] or ["the same one twice"]
        yield Finding("chain-unrelated", ", ".join(dict.fromkeys(surplus)))
    if len(path) > 1 and is_self_signed(path[-1]):
        yield Finding("chain-root", name_of(path[-1]))


def _trust(served: ServedChain, *, trust_matters: bool, own_ca: bool) -> Iterator[Finding]:
    if served.trust is None or served.trust.trusted:
        return
    path = path_of(served.certificates)
    last = path[-1]
    # An unknown root may have signed it directly. There is an intermediate if the certificate says where to fetch it,
    # or if the CA that was given did not sign it.
    known = own_ca or access_url(last, AccessOID.CA_ISSUERS) is not None or has_timestamps(last)
    if len(path) == 1 and not is_self_signed(last) and known:
        yield Finding("chain-incomplete", _issuer(last))
    elif not trust_matters:
        return
    elif served.trust.self_signed:
        yield Finding("self-signed", name_of(last))
    else:
        yield Finding("not-trusted", f"{name_of(last)}: {served.trust.reason}")


def _issuer(certificate: x509.Certificate) -> str:
    return f"issued by {certificate.issuer.rfc4514_string()}"


def _names(leaf: x509.Certificate, host: str) -> Iterator[Finding]:
    dns_names, addresses = subject_alt_names(leaf)
    if not dns_names and not addresses:
        yield Finding("no-san", name_of(leaf))
    elif not covers(names_for(dns_names, addresses), host):
        yield Finding("name-mismatch", f"{host} is not among {some((*dns_names, *addresses), 10)}")


def _dates(certificates: Sequence[x509.Certificate], now: datetime) -> Iterator[Finding]:
    leaf = certificates[0]
    start, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    if now > end:
        yield Finding("expired", f"on {end:%Y-%m-%d %H:%M} UTC")
    elif now < start:
        yield Finding("not-yet-valid", f"before {start:%Y-%m-%d %H:%M} UTC")
    elif (stage := stage_at(left := lifetime_left(start, end, now))) is not None:
        yield Finding(_BY_SEVERITY[stage.severity], f"{left:.0%} left, until {end:%Y-%m-%d %H:%M} UTC")
    if end - start > _APPLE:
        yield Finding("lifetime-long", f"{(end - start).days} days")
    for one in certificates[1:]:
        # Clients use their own copy of a root.
        if one.subject != one.issuer and not one.not_valid_before_utc <= now <= one.not_valid_after_utc:
            yield Finding("intermediate-expired", f"{name_of(one)}: {one.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")


def _strength(certificates: Sequence[x509.Certificate]) -> Iterator[Finding]:
    for number, one in enumerate(certificates):
        root = number > 0 and one.subject == one.issuer
        kind = key_type(one)
        if kind is None and not root:
            yield Finding("key-weak", f"{name_of(one)}: {describe_key(one)}")
        elif number == 0 and kind in _UNUSUAL:
            yield Finding("key-unusual", kind or "")
        digest = weak_signature(one)
        if digest is not None and not root:
            yield Finding("signature-weak", f"{name_of(one)}: {digest}")


def _usage(leaf: x509.Certificate) -> Iterator[Finding]:
    if is_ca(leaf):
        yield Finding("leaf-is-ca", name_of(leaf))
    for extension in leaf.extensions:
        usage = extension.value
        if isinstance(usage, x509.ExtendedKeyUsage):
            if not {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & set(usage):
                yield Finding("usage")
        elif isinstance(usage, x509.KeyUsage) and not usage.digital_signature:
            yield Finding("usage-signature")


def _staple(served: ServedChain, now: datetime) -> Iterator[Finding]:
    if served.staple is None:
        if served.staple_state == "unknown":
            yield Finding("staple-unknown")
        elif must_staple(served.leaf):
            yield Finding("must-staple")
        elif access_url(served.leaf, AccessOID.OCSP) is not None:
            yield Finding("staple-absent")
        return
    staple = served.staple
    if staple.status == "revoked":
        yield Finding("staple-revoked")
    elif staple.status != "good":
        yield Finding("staple-invalid", staple.status)
    elif staple.next_update is not None and now > staple.next_update:
        yield Finding("staple-stale", f"since {staple.next_update:%Y-%m-%d %H:%M} UTC")
