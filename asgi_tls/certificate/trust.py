"""Bundles of CA certificates: whom a server accepts as clients, whom a client accepts as servers; and their CRLs."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from asgi_tls.certificate.loaded import lifetime_left
from asgi_tls.certificate.material import Material, read_material
from asgi_tls.certificate.pem import CERTIFICATE_LABELS, Block, read_blocks, wrong_label
from asgi_tls.errors import CRLError, ExpiredError, MalformedCertificateError, NotPEMError, NotYetValidError, some
from asgi_tls.events import Notice

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cryptography import x509

_LAST_DAYS = timedelta(days=90)
_AGAIN = "Copy the file again, or get it from the CA again."


@dataclass(frozen=True)
class TrustAnchor:
    """A CA certificate by which clients are accepted. `subject` is its name, `source` the file; times are aware."""

    source: str
    subject: str
    not_before: datetime
    not_after: datetime

    def lifetime_left(self, now: datetime) -> float:
        """The share that is left of its last 90 days: of a CA's ten years a third would be long before anybody acts."""
        return lifetime_left(max(self.not_before, self.not_after - _LAST_DAYS), self.not_after, now)


@dataclass(frozen=True)
class RevocationList:
    """A CRL in force: from its thisUpdate to its nextUpdate (aware). `issuer` is the CA's name, `source` the file."""

    source: str
    issuer: str
    this_update: datetime
    next_update: datetime

    def lifetime_left(self, now: datetime) -> float:
        """The share of its time that is left, as of a certificate's."""
        return lifetime_left(self.this_update, self.next_update, now)


@dataclass(frozen=True)
class ClientTrust:
    """Whose certificates a server accepts from clients: CA certificates and CRLs, as PEM text.

    With `crls`, a client gets in only while each CA of its chain, the root included, has a CRL among them that is in
    force, and none of them revokes a certificate of the chain. `expiring` has what lets clients in for a time only: of
    each CA its last certificate, and its last CRL.
    """

    authorities: str
    crls: str | None = None
    warnings: tuple[Notice, ...] = field(default=(), compare=False)
    expiring: tuple[TrustAnchor | RevocationList, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class _Authority:
    """A certificate that may be a trust anchor. `parsed` is None if only OpenSSL can parse it."""

    pem: str
    subject: str
    not_before: datetime
    not_after: datetime
    parsed: x509.Certificate | None


def load_client_trust(client_ca: Path, client_crl: Path | None = None, *, now: datetime | None = None) -> ClientTrust:
    """Read both files, and check them, and whether each CA has its CRL. `now` is aware.

    Raises CertificateError.
    """
    now = now or datetime.now(UTC)
    material = read_material(client_ca, "CA bundle")
    found = _authorities(material)
    _check_dates(material, found, now)
    current = [each for each in found if each.not_after > now]
    anchors = _anchors(client_ca, found, now)
    warnings = tuple(
        Notice(
            "expired-client-ca",
            f"{client_ca}: {each.subject} expired on {each.not_after:%Y-%m-%d}: clients of this CA are refused",
        )
        for each in anchors
        if each.not_after <= now
    )
    warnings += material.stale
    if client_crl is None:
        return ClientTrust(_text(found), None, warnings, anchors)
    holder = read_material(client_crl, "CRL")
    warnings += holder.stale
    text, lists = _revocation_lists(holder, now)
    current = _without_loose_ends(material, current)
    for each in current:
        if each.parsed is not None and not any(_is_list_of(one, each.parsed) for one in lists):
            raise holder.error(
                CRLError,
                f"contains no CRL of {each.subject}, which is in {client_ca}",
                "Fetch it from the CA and append it: each CA in {client_ca} needs one.",
                "client_ca",
            )
    return ClientTrust(_text(current), text, warnings, anchors + _last_of_each(client_crl, lists))


def load_ca_bundle(path: Path) -> str:
    """The CA certificates in a PEM file, which is read once, as PEM text.

    Raises CertificateError: for an unreadable or damaged file, and for one without a CA certificate that is valid now.
    """
    material = read_material(path, "CA bundle")
    found = _authorities(material)
    _check_dates(material, found, datetime.now(UTC))
    return _text(found)


def _text(authorities: Sequence[_Authority]) -> str:
    return "".join(each.pem for each in authorities)


def _authorities(material: Material) -> list[_Authority]:
    """The CA certificates in a file, and the self-signed ones, which stand for themselves.

    Others are left out: an anchor need not be a root, so a client's own certificate in the file would be one.
    """
    blocks = read_blocks(material)
    certificates = [block for block in blocks if block.label in CERTIFICATE_LABELS]
    if not certificates:
        raise wrong_label(material, blocks, "a certificate")
    read = [_authority(material, block) for block in certificates]
    found = [each for each in read if each is not None]
    if not any(each.parsed is None or _may_sign(each.parsed) for each in found):
        raise material.error(
            NotPEMError, "contains no CA certificate", "Use the certificate of the CA, not one that the CA issued."
        )
    return found


def _authority(material: Material, block: Block) -> _Authority | None:
    from asgi_tls.certificate.chain import name_of, parse_certificate

    pem = block.text.decode("ascii").replace("X509 CERTIFICATE", "CERTIFICATE")
    try:
        parsed = parse_certificate(block.der)
    except ValueError as error:
        return _authority_by_openssl(material, block, pem, error)
    if not _may_sign(parsed) and parsed.subject != parsed.issuer:
        return None
    return _Authority(pem, name_of(parsed), parsed.not_valid_before_utc, parsed.not_valid_after_utc, parsed)


def _authority_by_openssl(material: Material, block: Block, pem: str, why: ValueError) -> _Authority | None:
    import ssl

    from asgi_tls.certificate.by_openssl import authority_facts

    try:
        facts = authority_facts(pem)
    except (ssl.SSLError, ValueError):
        problem = f"contains a certificate on line {block.line} that cannot be parsed: {why}"
        raise material.error(MalformedCertificateError, problem, _AGAIN) from None
    return None if facts is None else _Authority(pem, *facts, None)


def _may_sign(certificate: x509.Certificate) -> bool:
    """Whether it is a CA certificate: by basicConstraints, or self-signed without that extension (X.509 version 1)."""
    from cryptography import x509

    from asgi_tls.certificate.chain import extension

    constraints = extension(certificate, x509.BasicConstraints)
    return certificate.subject == certificate.issuer if constraints is None else constraints.ca


def _check_dates(material: Material, found: Sequence[_Authority], now: datetime) -> None:
    """Raise ExpiredError or NotYetValidError if nobody could be accepted."""
    if any(each.not_before <= now < each.not_after for each in found):
        return
    if coming := [each for each in found if each.not_before > now]:
        begins = some([f"{each.subject} on {each.not_before:%Y-%m-%d %H:%M UTC}" for each in coming], 3)
        problem = f"contains no CA certificate that is valid yet; not before: {begins}"
        fix = "Append the current certificate of the CA, or set this machine's clock."
        raise material.error(NotYetValidError, problem, fix)
    ends = some([f"{each.subject} on {each.not_after:%Y-%m-%d}" for each in found], 3)
    fix = "Get the current certificate from the CA, or set this machine's clock."
    raise material.error(ExpiredError, f"contains no CA certificate that is still valid; expired: {ends}", fix)


def _revocation_lists(material: Material, now: datetime) -> tuple[str, list[x509.CertificateRevocationList]]:
    """The lists in a file, as PEM text and parsed. Raises CertificateError, for one past its nextUpdate too."""
    blocks = read_blocks(material)
    found = [block for block in blocks if block.label == "X509 CRL"]
    if not found:
        raise wrong_label(material, blocks, "a CRL")
    lists = [_revocation_list(material, block, now) for block in found]
    return "".join(block.text.decode("ascii") for block in found), [each for each in lists if each is not None]


def _revocation_list(material: Material, block: Block, now: datetime) -> x509.CertificateRevocationList | None:
    """None for one that only OpenSSL can parse. Raises CertificateError."""
    from cryptography import x509

    from asgi_tls.certificate.chain import printable

    try:
        found = x509.load_der_x509_crl(block.der)
        issuer, begins, ends = printable(found.issuer.rfc4514_string()), found.last_update_utc, found.next_update_utc
    except ValueError as error:
        if _openssl_takes(block):
            return None
        problem = f"contains a CRL on line {block.line} that cannot be parsed: {printable(str(error))[:200]}"
        raise material.error(MalformedCertificateError, problem, "Fetch it from the CA again.") from None
    if ends is not None and ends <= now:
        raise material.error(
            CRLError,
            f"contains a CRL of {issuer} that expired on {ends:%Y-%m-%d %H:%M UTC}",
            "Fetch the current CRL from the CA, and repeat this regularly.",
        )
    if begins > now:
        raise material.error(
            CRLError,
            f"contains a CRL of {issuer} that is not valid before {begins:%Y-%m-%d %H:%M UTC}",
            "Compare this machine's clock with the CA's.",
        )
    return found


def _anchors(path: Path, authorities: Sequence[_Authority], now: datetime) -> tuple[TrustAnchor, ...]:
    """Of each CA the certificate by which it is in force for longest: renewed with the same key, it stands there twice.

    One that begins after that one's end does not count before its time.
    """
    last: dict[tuple[str, bytes], _Authority] = {}
    for each in sorted(authorities, key=lambda one: one.not_before):
        known = last.get(key := (each.subject, _key_of(each)))
        if known is None or (each.not_before <= max(known.not_after, now) and known.not_after < each.not_after):
            last[key] = each
    return tuple(TrustAnchor(str(path), each.subject, each.not_before, each.not_after) for each in last.values())


def _key_of(authority: _Authority) -> bytes:
    """Its public key, DER; nothing for one that only OpenSSL can parse."""
    from cryptography.exceptions import UnsupportedAlgorithm

    from asgi_tls.certificate.private_key import spki

    try:
        return b"" if authority.parsed is None else spki(authority.parsed.public_key())
    except (ValueError, UnsupportedAlgorithm):
        return b""


def _last_of_each(path: Path, lists: Sequence[x509.CertificateRevocationList]) -> tuple[RevocationList, ...]:
    from asgi_tls.certificate.chain import printable

    found: dict[str, RevocationList] = {}
    for one in lists:
        issuer, ends = printable(one.issuer.rfc4514_string()), one.next_update_utc
        if ends is not None and (issuer not in found or found[issuer].next_update < ends):
            found[issuer] = RevocationList(str(path), issuer, one.last_update_utc, ends)
    return tuple(found.values())


def _openssl_takes(block: Block) -> bool:
    import ssl

    from asgi_tls.certificate.keyfile import load_crls

    try:
        load_crls(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), block.text.decode("ascii"))
    except ssl.SSLError:
        return False
    return True


def _without_loose_ends(material: Material, authorities: Sequence[_Authority]) -> list[_Authority]:
    """Those whose chain ends with a root in the file, since OpenSSL checks revocation up to it. Raises CRLError."""
    from asgi_tls.certificate.chain import is_self_signed, issued_by, printable

    parsed = [each.parsed for each in authorities if each.parsed is not None]
    roots = [each for each in parsed if is_self_signed(each)]
    found: list[_Authority] = []
    for each in authorities:
        one = each.parsed
        if one is None or one in roots or any(issued_by(one, other) for other in parsed):
            found.append(each)
        # Of a cross-signed root the self-signed half is enough. OpenSSL might follow the other, and fail.
        elif not any(one.subject == root.subject and one.public_key() == root.public_key() for root in roots):
            issuer = printable(one.issuer.rfc4514_string())
            raise material.error(
                CRLError,
                f"contains {each.subject} without its issuer {issuer}, but revocation is checked up to the root",
                "Append the certificates up to the root, and the CRL of each to {client_crl}.",
                "client_crl",
            )
    return found


def _is_list_of(one: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    from cryptography.exceptions import UnsupportedAlgorithm

    if one.issuer != authority.subject:
        return False
    try:
        return one.is_signature_valid(authority.public_key())  # type: ignore[arg-type]  # a kind that cannot sign raises
    except (TypeError, ValueError, UnsupportedAlgorithm):
        return True  # for OpenSSL to say


def lists_in(crls: str) -> dict[bytes, datetime | None]:
    """The nextUpdate of each list in PEM text, by its issuer (DER). Lists that only OpenSSL can parse are left out."""
    from cryptography import x509

    found: dict[bytes, datetime | None] = {}
    for block in read_blocks(Material("CRL", crls.encode("ascii"))) if crls else ():
        with contextlib.suppress(ValueError):
            one = x509.load_der_x509_crl(block.der)
            found[one.issuer.public_bytes()] = one.next_update_utc
    return found


def issuer_without_list(chain: Sequence[bytes], lists: Mapping[bytes, datetime | None], now: datetime) -> str | None:
    """The first CA that issued one of these certificates (DER) and has no list in force, None where each has one."""
    from asgi_tls.certificate.chain import parse_certificate, printable

    for der in chain:
        with contextlib.suppress(ValueError):
            issuer = parse_certificate(der).issuer
            name = issuer.public_bytes()
            end = lists.get(name)
            if name not in lists or (end is not None and end <= now):
                return printable(issuer.rfc4514_string())
    return None
