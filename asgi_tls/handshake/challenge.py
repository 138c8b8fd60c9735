"""A CA's connection that validates a name by tls-alpn-01 (RFC 8737): how it is recognized, by the bytes of its
ClientHello. They are looked at only while a challenge is pending.
"""

from __future__ import annotations

import ipaddress
from typing import Final

from asgi_tls.handshake.hello import ALPN, Reader, read_extensions

PROTOCOL: Final = "acme-tls/1"

_HANDSHAKE_RECORD: Final = 22
_LARGEST: Final = 1 << 16  # ten times what clients send, also with post-quantum key shares
_REVERSE: Final = (".in-addr.arpa", ".ip6.arpa")


def hello_in(records: bytes) -> bytes | None:
    """The ClientHello in the records of a client, without its header; None as long as it is incomplete.

    It is b"" for what is none, or is too long to be looked at.
    """
    message, at = b"", 0
    while at + 5 <= len(records) and len(message) < _LARGEST:
        if records[at] != _HANDSHAKE_RECORD:
            return b""
        size = int.from_bytes(records[at + 3 : at + 5])
        message += records[at + 5 : at + 5 + size]
        at += 5 + size
        if message[:1] not in {b"", b"\x01"}:
            return b""
        if len(message) >= 4 and len(message) >= 4 + int.from_bytes(message[1:4]):
            return message[4 : 4 + int.from_bytes(message[1:4])]
    return b"" if len(records) >= _LARGEST else None


def is_validation(records: bytes) -> bool:
    """Whether the ClientHello in these records offers the protocol of tls-alpn-01 and no other (section 4)."""
    hello = hello_in(records)
    if not hello:
        return False
    try:
        reader = Reader(hello[34:])  # behind the version and the random value
        for size in (1, 2, 1):  # the session id, suites, compression
            reader.vector(size)
        names = Reader(Reader(read_extensions(reader).get(ALPN, b"")).vector(2))
        return names.vector(1) == PROTOCOL.encode("ascii") and not names.left
    except ValueError:
        return False


def validated(server_name: str) -> str:
    """The name or IP address that is validated; an address stands there as its reverse name (RFC 8738 section 6)."""
    name = server_name.lower().removesuffix(".")
    if name.endswith(_REVERSE[0]):
        return ".".join(reversed(name.removesuffix(_REVERSE[0]).split(".")))
    if name.endswith(_REVERSE[1]):
        digits = "".join(reversed(name.removesuffix(_REVERSE[1]).split(".")))
        try:
            return str(ipaddress.IPv6Address(bytes.fromhex(digits)))
        except ValueError:
            return name
    return name
