"""From bytes to a `Certificate`: every check. A mistake that would hide others is looked for first."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID as AccessOID
from cryptography.x509.oid import ExtendedKeyUsageOID

from asgi_tls.certificate.chain import (
    access_url,
    certificate_blocks,
    check_links,
    extension,
    extra_certificates,
    is_ca,
    is_self_signed,
    name_of,
    parse_certificates,
    path_from,
    printable,
    right_order,
    weak_signature,
)
from asgi_tls.certificate.loaded import Certificate, Purpose
from asgi_tls.certificate.pem import CERTIFICATE_LABELS, KEY_LABELS, Block, read_blocks
from asgi_tls.certificate.private_key import LoadedKey, describe_key, export_key, key_type, load_key
from asgi_tls.errors import (
    CAAsLeafError,
    ChainOrderError,
    EmptyFileError,
    ExpiredError,
    KeyMismatchError,
    MalformedCertificateError,
    NoSubjectAltNameError,
    NotPEMError,
    NotYetValidError,
    WeakKeyError,
    WeakSignatureError,
)
from asgi_tls.events import Notice
from asgi_tls.hostnames import names_for, parse_ip

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

    from asgi_tls.certificate.material import Material
    from asgi_tls.certificate.password import Password

# What extendedKeyUsage must say, and who looks.
_USAGES: dict[Purpose, tuple[x509.ObjectIdentifier, str, str]] = {
    "server": (ExtendedKeyUsageOID.SERVER_AUTH, "serverAuth", "clients"),
    "client": (ExtendedKeyUsageOID.CLIENT_AUTH, "clientAuth", "servers"),
}

_NEW_KEY = "Make a new key (`openssl ecparam -name prime256v1 -genkey -noout`) and have a certificate issued for it."

_REMOVE = "Remove it from the file: the chain is complete without it."


def validate(
    source: str,
    certificate: Material,
    key: Material | None,
    password: Password,
    purpose: Purpose,
    *,
    check_mode: bool = False,
    check_validity: bool = True,
) -> Certificate:
    """Parse and check. `key` is None when the key stands beside the certificate. Without `check_validity` it may have
    expired, or not begun. Raises CertificateError.
    """
    holder = key or certificate
    blocks, loaded = _read(certificate, key, password)
    warnings = (
        *loaded.warnings,
        *(holder.open_to_others("key") if check_mode else ()),
        *certificate.stale,
        *(holder.stale if key else ()),
    )
    try:
        chain = parse_certificates(blocks)
    except ValueError as error:
        if purpose == "client":
            raise certificate.error(MalformedCertificateError, str(error), "Have it issued again.") from None
        from asgi_tls.certificate.by_openssl import load_with_openssl

        return load_with_openssl(source, certificate, blocks, loaded, str(error), warnings)
    leaf, now = chain[0], datetime.now(UTC)
    path = path_from(chain, 0, now)
    _check_keys(certificate, chain, path)
    _check_key_belongs(certificate, holder, chain, loaded.key)
    _check_leaf(certificate, leaf)
    dns_names, addresses = subject_alt_names(leaf)
    if purpose == "server" and not dns_names and not addresses:
        raise _no_names(certificate, leaf)
    _check_signatures(certificate, chain, path)
    check_links(certificate, chain, path)
    if check_validity:
        check_dates(certificate, chain, path, now)
    return Certificate(
        chain_pem=b"".join(one.public_bytes(Encoding.PEM) for one in chain),
        key_pem=export_key(loaded.key),
        dns_names=dns_names,
        ip_addresses=addresses,
        subject=leaf.subject.rfc4514_string(),
        issuer=leaf.issuer.rfc4514_string(),
        serial_number=f"{leaf.serial_number:x}",
        not_before=leaf.not_valid_before_utc,
        not_after=leaf.not_valid_after_utc,
        key_type=key_type(leaf) or "",
        fingerprint_sha256=leaf.fingerprint(hashes.SHA256()).hex(),
        source=source,
        warnings=(
            *warnings,
            *(_chain_warnings(chain, dns_names) if purpose == "server" else ()),
            *extra_certificates(chain, path, now),
            *_usage_warnings(leaf, purpose),
        ),
        ocsp_url=access_url(leaf, AccessOID.OCSP),
        must_staple=must_staple(leaf),
    )


def _read(certificate: Material, key: Material | None, password: Password) -> tuple[tuple[Block, ...], LoadedKey]:
    """The certificates, not parsed yet, and the key."""
    for material in (certificate, key):
        if material is not None and not material.data.strip():
            raise material.error(EmptyFileError, "is empty", "Give the PEM text.")
    blocks = read_blocks(certificate)
    if key is None:
        return certificate_blocks(certificate, blocks), load_key(certificate, blocks, password)
    key_blocks = read_blocks(key)
    _check_swapped(certificate, blocks, key, key_blocks)
    return certificate_blocks(certificate, blocks), load_key(key, key_blocks, password)


def _check_swapped(certificate: Material, blocks: Sequence[Block], key: Material, key_blocks: Sequence[Block]) -> None:
    labels, key_labels = {block.label for block in blocks}, {block.label for block in key_blocks}
    if labels & CERTIFICATE_LABELS or key_labels & KEY_LABELS:
        return
    if labels & KEY_LABELS and key_labels & CERTIFICATE_LABELS:
        raise certificate.error(
            NotPEMError,
            f"contains the private key, and {key.name} the certificate: the two are swapped",
            "Exchange them: the certificate comes first, the key second.",
        )


def _check_keys(material: Material, chain: Sequence[x509.Certificate], path: Sequence[int]) -> None:
    for index, one in enumerate(chain):
        if key_type(one) is None and (index == 0 or not is_self_signed(one)):
            problem = f"certificate {index + 1} ({name_of(one)}) has {describe_key(one)}, which clients refuse"
            fix = f"{_NEW_KEY} RSA needs 2048 bits or more." if index in path else _REMOVE
            raise material.error(WeakKeyError, problem, fix)


def _check_key_belongs(
    certificate: Material, holder: Material, chain: Sequence[x509.Certificate], key: PrivateKeyTypes
) -> None:
    public = key.public_key()
    if chain[0].public_key() == public:
        return
    for number, one in enumerate(chain[1:], 2):
        if key_type(one) is not None and one.public_key() == public:
            raise certificate.error(
                ChainOrderError,
                f"the key belongs to certificate {number} ({name_of(one)}), not to the first one",
                right_order(chain, path_from(chain, number - 1, datetime.now(UTC))),
            )
    problem = f"does not belong to the certificate of {name_of(chain[0])}"
    if certificate.path is not None and certificate is not holder:
        problem += f" in {certificate.path}"
    fix = "Use the key that the certificate was requested with, or request a certificate for this key."
    if is_ca(chain[0]):
        problem += ", which is a CA certificate"
        fix = "Use the file that starts with the server's own certificate (fullchain.pem, not chain.pem)."
    if certificate is holder:
        problem = f"its private key {problem}"
    raise holder.error(KeyMismatchError, problem, fix)


def _check_leaf(material: Material, leaf: x509.Certificate) -> None:
    if is_ca(leaf):
        raise material.error(
            CAAsLeafError,
            f"the certificate of {name_of(leaf)} is a CA certificate (CA:TRUE), as `openssl req -x509` makes them",
            "Make a server certificate: `asgi-tls cert NAME`, or add `-addext basicConstraints=CA:FALSE`.",
        )


def _no_names(material: Material, leaf: x509.Certificate) -> NoSubjectAltNameError:
    return material.error(
        NoSubjectAltNameError,
        f"the certificate of {name_of(leaf)} has no host name in subjectAltName, and clients ignore the common name",
        "Have it issued with its host names: `asgi-tls cert NAME`, or openssl's `-addext subjectAltName=DNS:NAME`.",
    )


def _check_signatures(material: Material, chain: Sequence[x509.Certificate], path: Sequence[int]) -> None:
    for index, one in enumerate(chain):
        weak = weak_signature(one)
        if weak is not None and (index == 0 or one.subject != one.issuer):
            problem = f"certificate {index + 1} ({name_of(one)}) is signed with {weak}, which clients refuse"
            fix = "Have it issued again with SHA-256." if index in path else _REMOVE
            raise material.error(WeakSignatureError, problem, fix)


def check_dates(material: Material, chain: Sequence[x509.Certificate], path: Sequence[int], now: datetime) -> None:
    """Each certificate of the path is valid: from notBefore through notAfter (RFC 5280 section 4.1.2.5).

    Raises ExpiredError, NotYetValidError.
    """
    clock = f"this machine's clock says {_date(now)}: if that is wrong, set it"
    for index in path:
        one = chain[index]
        if index > 0 and one.subject == one.issuer:
            continue  # clients use their own copy of a root
        who = f"certificate {index + 1} ({name_of(one)})"
        if now > one.not_valid_after_utc:
            fix = "Get the current chain from the CA" if index else "Renew it"
            problem = f"{who} expired on {_date(one.not_valid_after_utc)}"
            raise material.error(ExpiredError, problem, f"{fix}; {clock}.")
        if now < one.not_valid_before_utc:
            problem = f"{who} is not valid before {_date(one.not_valid_before_utc)}"
            raise material.error(NotYetValidError, problem, f"Wait until then; {clock}.")


def subject_alt_names(leaf: x509.Certificate) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """DNS names in lower case, and IP addresses, in the order of the certificate."""
    names = extension(leaf, x509.SubjectAlternativeName) or x509.SubjectAlternativeName([])
    dns_names = (name.lower() for name in names.get_values_for_type(x509.DNSName) if name)
    addresses = (str(address) for address in names.get_values_for_type(x509.IPAddress))
    return tuple(dict.fromkeys(dns_names)), tuple(dict.fromkeys(addresses))


def must_staple(leaf: x509.Certificate) -> bool:
    """Whether clients must insist on a stapled OCSP response (RFC 7633)."""
    return x509.TLSFeatureType.status_request in (extension(leaf, x509.TLSFeature) or ())


def _chain_warnings(chain: Sequence[x509.Certificate], dns_names: Sequence[str]) -> Iterator[Notice]:
    leaf = chain[0]
    kind = key_type(leaf)
    if kind in {"Ed25519", "Ed448", "ECDSA P-521"}:
        yield Notice("key-type", f"browsers do not accept {kind} certificates; ECDSA P-256 works everywhere")
    if is_self_signed(leaf):
        yield Notice("self-signed", "the certificate is self-signed: each client has to be configured to trust it")
    elif len(chain) == 1:
        issuer = printable(leaf.issuer.rfc4514_string())
        yield Notice("no-intermediate", f"the file contains no intermediate: each client must trust {issuer} itself")
    if "(STAGING)" in leaf.issuer.rfc4514_string():
        yield Notice(
            "staging", "the certificate is from Let's Encrypt's staging environment, which clients do not trust"
        )
    for number, one in enumerate(chain, 1):
        if not 0 < one.serial_number < 1 << 159:  # RFC 5280 section 4.1.2.2: positive, in 20 octets at most
            yield Notice(
                "serial-number",
                f"certificate {number} has the serial number {one.serial_number:x}, which some clients refuse",
            )
    for name in dns_names:
        if parse_ip(name) is not None:
            yield Notice(
                "address-as-name",
                f"{name} is in the certificate as a DNS name, but clients look for an IP address entry",
            )
        elif not names_for([name], ()):
            yield Notice("unusable-name", f"no client accepts the certificate for {printable(name)}, one of its names")


def _usage_warnings(leaf: x509.Certificate, purpose: Purpose) -> Iterator[Notice]:
    name, label, peers = _USAGES[purpose]
    for each in leaf.extensions:
        usage = each.value
        if each.critical and isinstance(usage, x509.UnrecognizedExtension):
            unknown = each.oid.dotted_string
            yield Notice(
                "usage", f"the extension {unknown} is critical: {peers} that do not know it refuse the certificate"
            )
        if isinstance(usage, x509.ExtendedKeyUsage):
            if not {name, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & set(usage):
                yield Notice(
                    "usage", f"extendedKeyUsage lacks {label}: most {peers} refuse the certificate for a {purpose}"
                )
        elif isinstance(usage, x509.KeyUsage) and not usage.digital_signature:
            yield Notice("usage", "keyUsage lacks digitalSignature, which TLS 1.3 needs (RFC 8446 section 4.4.2.2)")


def _date(when: datetime) -> str:
    return when.strftime("%Y-%m-%d %H:%M UTC")
