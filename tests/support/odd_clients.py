"""Client certificates that OpenSSL takes and stricter parsers do not, written byte by byte.

odd_client(pki, "t61", tmp_path / "t61")      # certificate and key, issued by the PKI's root
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from odd_certificates import ECDSA, V3, V4, Odd, extension, tlv
from pki import PKI, key_to_pem, make_key

from asgi_tls import PEMFiles

_TRUE, _FALSE = tlv(1, b"\xff"), tlv(1, b"\0")
_UTF8, _PRINTABLE, _T61 = 0x0C, 0x13, 0x14
_PLAIN_NAME = Odd.text(_UTF8, b"Alice")
_PRIVATE_NAME = Odd.text(_UTF8, b"Alice", "2b06010401868d1f01")


def _san(*names: bytes) -> bytes:
    return extension("551d11", tlv(0x30, *names))


_DNS = tlv(0x82, b"alice.example")
_BASIC = extension("551d13", tlv(0x30), _TRUE)

# By name: the subject, the version, the extensions; and the subject as it must be read, None where nobody can read it.
_SHAPES: dict[str, tuple[bytes, bytes, tuple[bytes, ...], str | None]] = {
    "t61": (Odd.text(_T61, "Zürich".encode("latin-1")), V3, (_san(_DNS), _BASIC), "CN=Zürich"),
    "latin1_printable": (Odd.text(_PRINTABLE, b"Z\xfcrich"), V3, (_san(_DNS), _BASIC), "CN=Zürich"),
    "version_4": (_PLAIN_NAME, V4, (_san(_DNS), _BASIC), "CN=Alice"),
    "default_false": (_PLAIN_NAME, V3, (extension("551d11", tlv(0x30, _DNS), _FALSE), _BASIC), "CN=Alice"),
    "ca_false": (_PLAIN_NAME, V3, (_san(_DNS), extension("551d13", tlv(0x30, _FALSE), _TRUE)), "CN=Alice"),
    "short_address": (_PLAIN_NAME, V3, (_san(_DNS, tlv(0x87, b"\x7f\0\0")), _BASIC), "CN=Alice"),
    "private_attribute": (_PRIVATE_NAME, V3, (_san(_DNS), _BASIC), "1.3.6.1.4.1.99999.1=Alice"),
    "latin1_email": (_PLAIN_NAME, V3, (_san(_DNS, tlv(0x81, b"z\xfcrich@example.org")), _BASIC), None),
    "latin1_uri": (_PLAIN_NAME, V3, (_san(tlv(0x86, b"urn:z\xfcrich")), _BASIC), None),
}
ODD_CLIENTS = {name: shape[3] for name, shape in _SHAPES.items()}


def odd_client(pki: PKI, shape: str, directory: Path) -> PEMFiles:
    """Files of a client certificate of this shape, issued by the root."""
    subject, version, extensions, _ = _SHAPES[shape]
    key, now = make_key(), datetime.now(UTC)
    moments = [tlv(0x17, f"{now + timedelta(days=days):%y%m%d%H%M%SZ}".encode()) for days in (-1, 30)]
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    issuer = pki.root.certificate.subject.public_bytes()
    body = tlv(0x30, version, tlv(2, b"\x11\x22\x33"), ECDSA, issuer, tlv(0x30, *moments), subject, public,
               tlv(0xA3, tlv(0x30, *extensions)))  # fmt: skip
    signature = pki.root.key.sign(body, ec.ECDSA(hashes.SHA256()))
    directory.mkdir()
    certfile, keyfile = directory / "cert.pem", directory / "key.pem"
    certfile.write_text(ssl.DER_cert_to_PEM_cert(tlv(0x30, body, ECDSA, tlv(3, b"\0", signature))))
    keyfile.touch(mode=0o600)
    keyfile.write_bytes(key_to_pem(key))
    return PEMFiles(certfile, keyfile)
