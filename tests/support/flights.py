"""The first flight of a server, byte by byte."""

from __future__ import annotations

from asgi_tls.audit.probes.suites import NAMES
from asgi_tls.handshake import hello as h

NUMBERS = {name: number for number, name in NAMES.items()}
ECDHE_RSA = NUMBERS["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]
DHE_RSA = NUMBERS["TLS_DHE_RSA_WITH_AES_128_GCM_SHA256"]


def vector(size: int, data: bytes) -> bytes:
    return len(data).to_bytes(size) + data


def record(kind: int, body: bytes) -> bytes:
    return bytes((kind, 3, 3)) + vector(2, body)


def message(kind: int, body: bytes) -> bytes:
    return bytes((kind,)) + vector(3, body)


def server_hello(suite: int = ECDHE_RSA, version: int = h.TLS12, extensions: dict[int, bytes] | None = None) -> bytes:
    body = version.to_bytes(2) + bytes(32) + vector(1, b"") + suite.to_bytes(2) + b"\x00"
    if extensions is not None:
        body += vector(2, b"".join(number.to_bytes(2) + vector(2, data) for number, data in extensions.items()))
    return message(2, body)
