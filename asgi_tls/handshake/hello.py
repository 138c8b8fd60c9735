"""ClientHello messages, byte by byte: an audit must offer what Python's OpenSSL no longer supports.

They are read as well, to see what a client of ours offers.

Message layouts are those of RFC 8446 section 4.1.2 and RFC 5246 section 7.4.1.2; SSL 3.0 is RFC 6101.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from asgi_tls.hostnames import parse_ip

SSL3: Final = 0x0300
TLS10: Final = 0x0301
TLS11: Final = 0x0302
TLS12: Final = 0x0303
TLS13: Final = 0x0304

VERSION_NAMES: Final = {SSL3: "SSLv3", TLS10: "TLSv1.0", TLS11: "TLSv1.1", TLS12: "TLSv1.2", TLS13: "TLSv1.3"}
"""Oldest first."""

X25519: Final = 0x001D

# Extension numbers: IANA, TLS ExtensionType Values.
SERVER_NAME: Final = 0
STATUS_REQUEST: Final = 5
SUPPORTED_GROUPS: Final = 10
EC_POINT_FORMATS: Final = 11
SIGNATURE_ALGORITHMS: Final = 13
ALPN: Final = 16
EXTENDED_MASTER_SECRET: Final = 23
SESSION_TICKET: Final = 35
SUPPORTED_VERSIONS: Final = 43
PSK_KEY_EXCHANGE_MODES: Final = 45
KEY_SHARE: Final = 51
RENEGOTIATION_INFO: Final = 0xFF01

_RECORD_AND_MESSAGE: Final = 5 + 4  # their headers

# Every scheme that a certificate can need, strong ones first: a probe must not fail because one is missing.
_SIGNATURES: Final = (
    *(0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0807, 0x0808, 0x0809, 0x080A, 0x080B),
    *(0x0401, 0x0501, 0x0601, 0x081A, 0x081B, 0x081C, 0x0301, 0x0303, 0x0201, 0x0203, 0x0402, 0x0202, 0x0101),
)


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What a ClientHello offers: `version` is the highest, and for TLS 1.3 the only one.

    `shares` are the client's halves of key exchanges, by group. A TLS 1.3 server that gets none names the group that it
    wants (RFC 8446 section 4.2.8: an empty vector of shares asks for a HelloRetryRequest).
    """

    version: int
    suites: Sequence[int]
    groups: Sequence[int]
    server_name: str | None
    shares: Mapping[int, bytes] = field(default_factory=dict)

    def record(self) -> bytes:
        """The TLS record with the hello in it."""
        body = min(self.version, TLS12).to_bytes(2) + os.urandom(32)
        # A session id makes a TLS 1.3 server use the middlebox compatibility mode (RFC 8446 appendix D.4).
        body += _vector(1, os.urandom(32) if self.version == TLS13 else b"")
        # Compression is offered where it exists, to see whether the server accepts it (CRIME, RFC 7525 section 3.3).
        body += _vector(2, _pairs(self.suites)) + _vector(1, b"\x00" if self.version == TLS13 else b"\x01\x00")
        if self.version > SSL3:
            body += _vector(2, b"".join(number.to_bytes(2) + _vector(2, data) for number, data in self._extensions()))
        message = b"\x01" + _vector(3, body)
        return b"\x16" + min(self.version, TLS10).to_bytes(2) + _vector(2, message)

    def _extensions(self) -> list[tuple[int, bytes]]:
        found: list[tuple[int, bytes]] = []
        if self.server_name is not None and parse_ip(self.server_name) is None:  # RFC 6066 section 3: no addresses
            found.append((SERVER_NAME, _vector(2, b"\x00" + _vector(2, self.server_name.encode("ascii")))))
        found.append((STATUS_REQUEST, b"\x01\x00\x00\x00\x00"))
        found.append((SUPPORTED_GROUPS, _vector(2, _pairs(self.groups))))
        if self.version >= TLS12:
            found.append((SIGNATURE_ALGORITHMS, _vector(2, _pairs(_SIGNATURES))))
        if self.version == TLS13:
            shares = b"".join(group.to_bytes(2) + _vector(2, share) for group, share in self.shares.items())
            found.append((SUPPORTED_VERSIONS, _vector(1, _pairs([TLS13]))))
            found.append((PSK_KEY_EXCHANGE_MODES, _vector(1, b"\x01")))
            found.append((KEY_SHARE, _vector(2, shares)))
        else:
            found.append((EC_POINT_FORMATS, _vector(1, b"\x00")))
            found.append((EXTENDED_MASTER_SECRET, b""))
            found.append((SESSION_TICKET, b""))
            found.append((RENEGOTIATION_INFO, b"\x00"))
        return found


@dataclass(frozen=True)
class Offered:
    """What a ClientHello was found to offer, in its order."""

    suites: tuple[int, ...]
    groups: tuple[int, ...]


def read_hello(record: bytes) -> Offered:
    """From the first record of a client. Raises ValueError."""
    reader = Reader(record[_RECORD_AND_MESSAGE + 34 :])  # behind the version and the random value
    reader.vector(1)  # the session id
    suites = reader.vector(2)
    reader.vector(1)  # compression
    groups = read_extensions(reader).get(SUPPORTED_GROUPS, bytes(2))
    return Offered(_numbers(suites), _numbers(Reader(groups).vector(2)))


def read_extensions(reader: Reader) -> dict[int, bytes]:
    """The extensions at the end of a hello, by number. Raises ValueError."""
    found: dict[int, bytes] = {}
    inner = Reader(reader.vector(2)) if reader.left else reader
    while inner.left:
        number = int.from_bytes(inner.take(2))
        found[number] = inner.vector(2)
    return found


class Reader:
    """Takes from the front. Raises ValueError when too little is left."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, size: int) -> bytes:
        if size > self.left:
            raise ValueError("cut short")
        self._at += size
        return self._data[self._at - size : self._at]

    def vector(self, size: int) -> bytes:
        return self.take(int.from_bytes(self.take(size)))


def _pairs(numbers: Sequence[int]) -> bytes:
    return b"".join(number.to_bytes(2) for number in numbers)


def _vector(size: int, data: bytes) -> bytes:
    return len(data).to_bytes(size) + data


def _numbers(data: bytes) -> tuple[int, ...]:
    return tuple(int.from_bytes(data[at : at + 2]) for at in range(0, len(data), 2))
