"""The chain in the order it is served: does it begin with the server's own certificate, and does each link hold?"""

from __future__ import annotations

import itertools
import re
import warnings
from typing import TYPE_CHECKING, Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import AuthorityInformationAccessOID as AccessOID
from cryptography.x509.oid import ExtensionOID, SignatureAlgorithmOID

from asgi_tls.certificate.material import Material, read_material
from asgi_tls.certificate.pem import CERTIFICATE_LABELS, KEY_LABELS, Block, read_blocks, wrong_label
from asgi_tls.errors import (
    CertificateError,
    ChainOrderError,
    LeafOnlyError,
    MalformedCertificateError,
    MissingIntermediateError,
    NotPEMError,
)
from asgi_tls.events import Notice

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)

# `cryptography` warns of odd serial numbers wherever they are read, in words for programmers: `Certificate.warnings`
# has our own. A filter for our modules alone is safe with threads, as `warnings.catch_warnings` is not.
_OURS: Final = re.compile(r"asgi_tls\.")
_QUIET: Final = ("ignore", None, CryptographyDeprecationWarning, _OURS, 0)


# RFC 9155; MD5 fell in 2008, MD2 before it.
_WEAK_SIGNATURES: Final = {
    SignatureAlgorithmOID.RSA_WITH_MD5: "MD5",
    SignatureAlgorithmOID.RSA_WITH_SHA1: "SHA-1",
    x509.ObjectIdentifier("1.3.14.3.2.29"): "SHA-1",  # the older name of RSA with SHA-1
    SignatureAlgorithmOID.DSA_WITH_SHA1: "SHA-1",
    SignatureAlgorithmOID.ECDSA_WITH_SHA1: "SHA-1",
    x509.ObjectIdentifier("1.2.840.113549.1.1.2"): "MD2",
}


def certificate_blocks(material: Material, blocks: Sequence[Block]) -> tuple[Block, ...]:
    """The certificates among `blocks`. Raises NotPEMError where there are none."""
    found = tuple(block for block in blocks if block.label in CERTIFICATE_LABELS)
    if not found and any(block.label in KEY_LABELS for block in blocks):
        raise material.error(
            NotPEMError,
            "is given as the certificate, but contains a private key and no certificate",
            "Use the certificate's own file; Let's Encrypt calls it fullchain.pem.",
        )
    if not found:
        raise wrong_label(material, blocks, "a certificate")
    return found


def parse_certificates(blocks: Sequence[Block]) -> tuple[x509.Certificate, ...]:
    """Each certificate, completely parsed, so that no attribute raises later. Raises ValueError."""
    found: list[x509.Certificate] = []
    for number, block in enumerate(blocks, 1):
        try:
            found.append(parse_certificate(block.der))
        except ValueError as error:
            raise ValueError(f"certificate {number} (line {block.line}) is not valid DER of X.509: {error}") from None
    return tuple(found)


def parse_certificate(der: bytes) -> x509.Certificate:
    """One of them. Raises ValueError."""
    if _QUIET not in warnings.filters:
        warnings.filterwarnings("ignore", category=CryptographyDeprecationWarning, module=_OURS.pattern)
    try:
        certificate = x509.load_der_x509_certificate(der)
        _ = certificate.extensions, certificate.subject.rfc4514_string(), certificate.issuer.rfc4514_string()
        _ = certificate.version, certificate.not_valid_before_utc, certificate.not_valid_after_utc
    except Exception as error:
        raise ValueError(printable(str(error))[:200]) from error
    return certificate


def load_chain(material: Material) -> tuple[x509.Certificate, ...]:
    """Every certificate of a file. Raises CertificateError."""
    try:
        return parse_certificates(certificate_blocks(material, read_blocks(material)))
    except ValueError as error:
        raise material.error(
            MalformedCertificateError, str(error), "Copy the file again, or have the certificate issued again."
        ) from None


def path_from(chain: Sequence[x509.Certificate], start: int, now: datetime) -> list[int]:
    """The chain from one certificate up to the last issuer in the file, as indexes.

    Of several issuers (a CA that is cross-signed) it takes one that is valid, then one that comes later in the file.
    """
    path = [start]
    while not is_self_signed(one := chain[path[-1]]):
        issuers = [i for i, other in enumerate(chain) if i not in path and issued_by(one, other)]
        if not issuers:
            break
        path.append(min(issuers, key=lambda i: (now > chain[i].not_valid_after_utc, i < path[-1], i)))
    return path


def check_links(material: Material, chain: Sequence[x509.Certificate], path: Sequence[int]) -> None:
    """The first certificate is followed by its issuers, in order. Other certificates in between do no harm.

    Raises ChainOrderError or MissingIntermediateError.
    """
    last = chain[path[-1]]
    for index, issuer in itertools.pairwise(path):
        if not is_ca(chain[issuer]) and not is_self_signed(chain[issuer]):
            raise material.error(
                MissingIntermediateError,
                f"certificate {index + 1} is signed by certificate {issuer + 1} ({name_of(chain[issuer])}), "
                "which is not a CA certificate",
                "Issue it from a certificate with basicConstraints CA:TRUE: clients accept no other.",
            )
    if not is_self_signed(last):
        _check_end(material, chain, path)
    needed = path[:-1] if is_self_signed(last) else path  # clients have roots
    for index, issuer in itertools.pairwise(needed):
        if issuer < index:
            problem = f"certificate {issuer + 1} ({name_of(chain[issuer])}) stands before {index + 1}, which it issued"
            raise material.error(ChainOrderError, problem, right_order(chain, path))


def right_order(chain: Sequence[x509.Certificate], path: Sequence[int]) -> str:
    """How to arrange the certificates, by their numbers in the file."""
    rest = [index for index in range(len(chain)) if index not in path]
    unused = f" and remove {_numbers(rest)}" if rest else ""
    return f"Put them in this order: {_numbers(path)}{unused}; the leaf comes first, then each one's issuer."


def extra_certificates(chain: Sequence[x509.Certificate], path: Sequence[int], now: datetime) -> Iterator[Notice]:
    """A warning on each certificate that a client does not need."""
    for index, one in enumerate(chain[1:], 1):
        who = f"certificate {index + 1} ({name_of(one)})"
        if one in chain[:index]:
            yield Notice("extra-certificate", f"{who} repeats certificate {chain.index(one) + 1}; remove it")
        elif is_self_signed(one):
            yield Notice("extra-certificate", f"{who} is a root, which no client needs; remove it")
        elif index in path:
            continue
        elif now > one.not_valid_after_utc:
            yield Notice(
                "extra-certificate",
                f"{who} expired on {one.not_valid_after_utc:%Y-%m-%d}, and no link needs it; remove it",
            )
        elif issued := [number + 1 for number in path if issued_by(chain[number], one)]:
            yield Notice(
                "extra-certificate",
                f"{who} is another certificate of the issuer of certificate {issued[0]}; clients use one of the two",
            )
        else:
            yield Notice("extra-certificate", f"{who} issued none of the other certificates in the file; remove it")


def issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether the names fit and the signature holds."""
    if certificate.issuer != issuer.subject:
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def seems_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """The same, but by the names alone where the digest is broken: `cryptography` verifies none of these."""
    if weak_signature(certificate) is not None:
        return certificate.issuer == issuer.subject
    return issued_by(certificate, issuer)


def is_self_signed(certificate: x509.Certificate) -> bool:
    """Also where the digest is broken, as of many roots: nobody verifies the signature of a root."""
    return seems_issued_by(certificate, certificate)


def weak_signature(certificate: x509.Certificate) -> str | None:
    """The broken digest that it is signed with, None for a sound one."""
    return _WEAK_SIGNATURES.get(certificate.signature_algorithm_oid)


def extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    """The extension of a type, None without it."""
    return next((each.value for each in certificate.extensions if isinstance(each.value, kind)), None)


def is_ca(certificate: x509.Certificate) -> bool:
    constraints = extension(certificate, x509.BasicConstraints)
    return constraints is not None and constraints.ca


def access_url(certificate: x509.Certificate, method: x509.ObjectIdentifier) -> str | None:
    """The first http(s) URL that authorityInfoAccess gives for `method` (RFC 5280 section 4.2.2.1)."""
    access = extension(certificate, x509.AuthorityInformationAccess) or ()
    urls = (str(entry.access_location.value) for entry in access if entry.access_method == method)
    return next((url for url in urls if url.lower().startswith(("http://", "https://"))), None)


def name_of(certificate: x509.Certificate) -> str:
    return printable(certificate.subject.rfc4514_string()) or f"serial number {certificate.serial_number:x}"


def printable(text: str) -> str:
    """`text` on one line: a name in a certificate must not forge a log line."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _check_end(material: Material, chain: Sequence[x509.Certificate], path: Sequence[int]) -> None:
    """Check the last certificate of the path, which is not a root. Raises MissingIntermediateError."""
    last, one = path[-1], chain[path[-1]]
    if len(chain) == 1:
        _check_alone(material, one)
        return
    who = f"certificate {last + 1} ({name_of(one)})"
    namesakes = [i for i, other in enumerate(chain) if i not in path and other.subject == one.issuer]
    if namesakes and (last == 0 or not is_self_signed(chain[namesakes[0]])):
        problem = f"{who} names certificate {namesakes[0] + 1} as its issuer, whose key did not sign it"
        raise material.error(MissingIntermediateError, problem, _fetch(one))
    if last == 0:
        problem = f"{who} was issued by {printable(one.issuer.rfc4514_string())}, which is not in the file"
        raise material.error(MissingIntermediateError, problem, _fetch(one))


def _check_alone(material: Material, leaf: x509.Certificate) -> None:
    sibling = _fuller_sibling(material, leaf)
    if sibling is not None:
        raise material.error(
            LeafOnlyError,
            f"contains the server's certificate only; {sibling} contains the whole chain",
            f"Use {sibling} instead.",
        )
    if access_url(leaf, AccessOID.CA_ISSUERS) is not None or has_timestamps(leaf):
        raise material.error(
            MissingIntermediateError,
            f"contains the server's certificate only, without its issuer {printable(leaf.issuer.rfc4514_string())}",
            _fetch(leaf),
        )


def _fuller_sibling(material: Material, leaf: x509.Certificate) -> str | None:
    """The file beside a leaf-only file that continues after the same leaf, by certbot's and acme.sh's names."""
    path = material.path
    if path is None:
        return None
    names = ("fullchain.pem", "fullchain.cer", path.name.replace("cert", "fullchain"))
    for other in dict.fromkeys(path.with_name(name) for name in names if name != path.name):
        try:
            blocks = read_blocks(read_material(other, "certificate"))
        except CertificateError:
            continue
        found = [block.der for block in blocks if block.label in CERTIFICATE_LABELS]
        if len(found) > 1 and found[0] == leaf.public_bytes(Encoding.DER):
            return str(other)
    return None


def has_timestamps(leaf: x509.Certificate) -> bool:
    """Embedded SCTs (RFC 6962 section 3.3): only public CAs put them in."""
    return any(extension.oid == ExtensionOID.PRECERT_SIGNED_CERTIFICATE_TIMESTAMPS for extension in leaf.extensions)


def _fetch(certificate: x509.Certificate) -> str:
    url = access_url(certificate, AccessOID.CA_ISSUERS)
    where = f" (DER, from {printable(url)})" if url else ""
    return f"Append the issuer's certificate{where}, or use the CA's full chain file (fullchain.pem)."


def _numbers(indexes: Sequence[int]) -> str:
    return ", ".join(str(index + 1) for index in indexes)
