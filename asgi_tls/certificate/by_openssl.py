"""Certificates that `cryptography` refuses to parse and OpenSSL accepts: T61 text in names, encoded DEFAULT values, odd
subjectAltNames, unknown versions.

OpenSSL serves and verifies, so its reading counts. It is reached through `ssl` alone: a handshake in memory proves that
a client which trusts the last certificate of the file accepts the first, and gives the contents of that one.
"""

from __future__ import annotations

import contextlib
import hashlib
import ssl
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from asgi_tls.certificate.chain import printable
from asgi_tls.certificate.distinguished import RDN, rfc4514, serial_number
from asgi_tls.certificate.keyfile import load_pair
from asgi_tls.certificate.loaded import Certificate
from asgi_tls.certificate.material import Material
from asgi_tls.certificate.pem import Block
from asgi_tls.certificate.private_key import LoadedKey, export_key, type_of_key
from asgi_tls.errors import (
    CertificateError,
    ExpiredError,
    KeyMismatchError,
    MalformedCertificateError,
    MissingIntermediateError,
    NoSubjectAltNameError,
    NotYetValidError,
)
from asgi_tls.events import Notice
from asgi_tls.hostnames import parse_ip
from asgi_tls.profile import INTERMEDIATE, cipher_string

_AGAIN: Final = "Copy the file again, or have the certificate issued again, encoded as RFC 5280 demands."

_NO_ISSUER: Final = 20  # X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY

# X509_V_ERR_…, by number.
_REFUSALS: Final[Mapping[int, tuple[type[CertificateError], str]]] = {
    9: (NotYetValidError, "Wait until it is valid, or set this machine's clock."),
    10: (ExpiredError, "Renew it, or set this machine's clock."),
    **dict.fromkeys((2, 7, 20, 21), (MissingIntermediateError, "Use the CA's full chain file (fullchain.pem).")),
}


def load_with_openssl(
    source: str, material: Material, blocks: Sequence[Block], key: LoadedKey, why: str, warnings: Iterable[Notice]
) -> Certificate:
    """A server's certificate as OpenSSL reads it. `why` is the problem that `cryptography` found.

    Raises CertificateError.
    """
    chain_pem, key_pem = b"".join(block.text for block in blocks), export_key(key.key)
    facts = _shake_hands(material, chain_pem, key_pem, [block.text.decode("ascii") for block in blocks], why)
    dns_names = tuple(dict.fromkeys(name.lower() for name in _names(facts, "DNS") if name))
    addresses = tuple(dict.fromkeys(filter(None, map(parse_ip, _names(facts, "IP Address")))))
    subject = _text(facts["subject"])
    if not dns_names and not addresses:
        raise material.error(
            NoSubjectAltNameError,
            f"the certificate of {subject} has no host name in subjectAltName, and clients ignore the common name",
            "Have it issued with its names.",
        )
    odd = Notice("odd-certificate", f"{why}; OpenSSL serves it, but stricter clients may refuse it")
    return Certificate(
        chain_pem=chain_pem,
        key_pem=key_pem,
        dns_names=dns_names,
        ip_addresses=addresses,
        subject=subject,
        issuer=_text(facts["issuer"]),
        serial_number=serial_number(facts["serialNumber"]),
        not_before=_moment(facts["notBefore"]),
        not_after=_moment(facts["notAfter"]),
        key_type=type_of_key(key.key.public_key()) or "",
        fingerprint_sha256=hashlib.sha256(blocks[0].der).hexdigest(),
        source=source,
        warnings=(*warnings, odd),
        ocsp_url=next((url for url in facts.get("OCSP", ()) if url.lower().startswith(("http://", "https://"))), None),
    )


def authority_facts(pem: str) -> tuple[str, datetime, datetime] | None:
    """The subject of a CA certificate, PEM text, and when it begins and ends; None for one that is not a CA's.

    Raises ssl.SSLError where OpenSSL cannot parse it either, ValueError where its names or dates cannot be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=pem)
    found: Sequence[Any] = context.get_ca_certs()
    if not found:
        return None
    return _text(found[0]["subject"]), _moment(found[0]["notBefore"]), _moment(found[0]["notAfter"])


def _shake_hands(
    material: Material, chain_pem: bytes, key_pem: bytes, certificates: Sequence[str], why: str
) -> Mapping[str, Any]:
    """The server's certificate as a client's `getpeercert` returns it. Raises CertificateError."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.set_ciphers(cipher_string(INTERMEDIATE))
    try:
        load_pair(server, chain_pem, key_pem)
        for anchor in certificates[:0:-1]:  # unrelated certificates may follow the end of the chain
            with contextlib.suppress(ssl.SSLCertVerificationError):
                return _exchange(server, _trusting(anchor))
        return _exchange(server, _trusting(certificates[-1]))
    except UnicodeDecodeError:  # bytes that are not the text that they claim to be
        problem = f"{why}, and OpenSSL cannot read its names"
        raise material.error(MalformedCertificateError, problem, _AGAIN) from None
    except ssl.SSLCertVerificationError as error:
        kind, fix = _REFUSALS.get(error.verify_code, (MalformedCertificateError, _AGAIN))
        if error.verify_code == _NO_ISSUER and _has_issuer(server, certificates):
            problem = f"{why}, and OpenSSL refuses it, although its issuer is in the file"
            raise material.error(MalformedCertificateError, problem, _AGAIN) from None
        raise material.error(kind, f"{why}, and OpenSSL refuses it: {error.verify_message}", fix) from None
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            fix = "Use the key that the certificate was requested with."
            raise material.error(KeyMismatchError, "the key does not belong to the certificate", fix) from None
        reason = f"refuses it: {error.reason}" if error.reason else "cannot parse it"
        raise material.error(MalformedCertificateError, f"{why}, and OpenSSL {reason}", _AGAIN) from None


def _has_issuer(server: ssl.SSLContext, certificates: Sequence[str]) -> bool:
    """Whether the file has a CA with the name of the first certificate's issuer.

    OpenSSL before 3.5 refuses to load a certificate with extensions that it cannot read. Later ones load it, and find
    no issuer for it.
    """
    with contextlib.suppress(ssl.SSLError, ValueError):
        issuer = _text(_exchange(server, _trusting(certificates[0]))["issuer"])
        return any(found is not None and found[0] == issuer for found in map(authority_facts, certificates[1:]))
    return False


def _trusting(anchor: str) -> ssl.SSLContext:
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.set_ciphers(cipher_string(INTERMEDIATE))
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(cadata=anchor)
    return client


def _exchange(server: ssl.SSLContext, client: ssl.SSLContext) -> Mapping[str, Any]:
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = client.wrap_bio(to_client, to_server)
    far = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(3):  # hello and answer, Finished, and once more where a hello was retried
        for end in (near, far):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    found: Mapping[str, Any] | None = near.getpeercert()
    return found or {}


def _names(facts: Mapping[str, Any], kind: str) -> list[str]:
    return [value for name, value in facts.get("subjectAltName", ()) if name == kind]


def _text(name: Sequence[RDN]) -> str:
    return printable(rfc4514(name))


def _moment(text: str) -> datetime:
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(text), UTC)
