"""Certificates that OpenSSL takes and stricter parsers may not, written byte by byte.

odd = Odd()
pair = odd.pair("localhost", subject=Odd.t61("Zürich"))
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pki import key_to_pem, make_key

V1, V3, V4 = b"", b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x03"
_TRUE, _FALSE = b"\x01\x01\xff", b"\x01\x01\x00"


def tlv(tag: int, *parts: bytes) -> bytes:
    """One element of DER."""
    body = b"".join(parts)
    if len(body) < 128:
        return bytes((tag, len(body))) + body
    size = len(body).to_bytes((len(body).bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(size))) + size + body


def _oid(hexadecimal: str) -> bytes:
    return tlv(6, bytes.fromhex(hexadecimal))


ECDSA = tlv(0x30, _oid("2a8648ce3d040302"))


def extension(oid: str, value: bytes, critical: bytes = b"") -> bytes:
    return tlv(0x30, _oid(oid), critical, tlv(4, value))


def alternative_names(*names: bytes, critical: bytes = b"") -> bytes:
    """subjectAltName of encoded names; `dns` and `ip` make them."""
    return extension("551d11", tlv(0x30, *names), critical)


def dns(name: bytes) -> bytes:
    return tlv(0x82, name)


def ip(address: bytes) -> bytes:
    return tlv(0x87, address)


def basic_constraints(value: bytes = b"") -> bytes:
    return extension("551d13", tlv(0x30, value), _TRUE)


def utc_time(days: float) -> bytes:
    return tlv(0x17, (datetime.now(UTC) + timedelta(days=days)).strftime("%y%m%d%H%M%SZ").encode())


def pem(kind: str, der: bytes) -> bytes:
    return f"-----BEGIN {kind}-----\n{base64.encodebytes(der).decode()}-----END {kind}-----\n".encode()


@dataclass(frozen=True)
class OddPair:
    """As `pki.Pair`."""

    der: bytes
    key: Any = field(repr=False)
    root_pem: bytes
    serial: bytes

    @property
    def chain_pem(self) -> bytes:
        return pem("CERTIFICATE", self.der) + self.root_pem

    @property
    def key_pem(self) -> bytes:
        return key_to_pem(self.key)

    def write(self, directory: Path) -> tuple[Path, Path]:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "fullchain.pem").write_bytes(self.chain_pem)
        (directory / "privkey.pem").touch(mode=0o600)
        (directory / "privkey.pem").write_bytes(self.key_pem)
        return directory / "fullchain.pem", directory / "privkey.pem"


class Odd:
    """A root that signs whatever it is given. Without `root_name` it is an ordinary one."""

    def __init__(self, root_name: bytes | None = None) -> None:
        self.name = root_name or self.utf8("Odd Root")
        self.key = make_key()
        self.root_pem = pem("CERTIFICATE", self._certificate(self.name, self.key, [basic_constraints(_TRUE)]))

    @staticmethod
    def text(tag: int, text: bytes, attribute: str = "550403") -> bytes:
        """A name of one attribute, the common name if no other is given, in whatever kind of string."""
        return tlv(0x30, tlv(0x31, tlv(0x30, _oid(attribute), tlv(tag, text))))

    @classmethod
    def utf8(cls, name: str) -> bytes:
        return cls.text(0x0C, name.encode())

    @classmethod
    def t61(cls, name: str) -> bytes:
        return cls.text(0x14, name.encode("latin-1"))

    def pair(
        self,
        name: str = "localhost",
        *,
        subject: bytes | None = None,
        extensions: list[bytes] | None = None,
        **how: Any,
    ) -> OddPair:
        """A certificate of this root. `how` is for `_certificate`."""
        key, serial = make_key(), how.get("serial", b"\x11\x22\x33")
        if extensions is None:
            extensions = [alternative_names(dns(name.encode())), basic_constraints()]
        der = self._certificate(self.utf8(name) if subject is None else subject, key, extensions, **how)
        return OddPair(der, key, self.root_pem, serial)

    def crl(self, *revoked: OddPair) -> bytes:
        """A revocation list, PEM."""
        entries = [tlv(0x30, tlv(2, pair.serial), utc_time(-1)) for pair in revoked]
        parts = [b"\x02\x01\x01", ECDSA, self.name, utc_time(-1), utc_time(5)]
        return pem("X509 CRL", self._signed(tlv(0x30, *parts, *([tlv(0x30, *entries)] if entries else []))))

    def _certificate(
        self,
        subject: bytes,
        key: Any,
        extensions: list[bytes],
        *,
        serial: bytes = b"\x11\x22\x33",
        version: bytes = V3,
        not_after: bytes | None = None,
        tail: bytes = b"",
    ) -> bytes:
        public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        validity = tlv(0x30, utc_time(-2), not_after or utc_time(60))
        body = [version, tlv(2, serial), ECDSA, self.name, validity, subject, public]
        return self._signed(tlv(0x30, *body, *([tlv(0xA3, tlv(0x30, *extensions))] if extensions else []))) + tail

    def _signed(self, body: bytes) -> bytes:
        return tlv(0x30, body, ECDSA, tlv(3, b"\0", self.key.sign(body, ec.ECDSA(SHA256()))))
