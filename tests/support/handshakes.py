"""Handshakes of a real client with a real server, made by Python's own `ssl`."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from asgi_tls import _openssl


@dataclass(frozen=True)
class Result:
    """What a client saw. `facts` is the JSON that the server's application answered, where it was asked."""

    protocol: str
    cipher: str
    group: str | None
    alpn: str | None
    certificate: bytes
    facts: dict[str, Any]


def client(
    *,
    ca: str | None = None,
    minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
    maximum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    groups: Sequence[str] = (),
    ciphers: str | None = None,
    alpn: Sequence[str] = (),
) -> ssl.SSLContext:
    """A client context. Without `ca` (PEM text) it verifies nothing, which tests of versions and suites need."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version, context.maximum_version = minimum, maximum
    if ca is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_verify_locations(cadata=ca)
    if groups:
        needs_libssl(_openssl.capabilities().groups)
        _openssl.set_groups(context, groups)
    if ciphers:
        context.set_ciphers(ciphers)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def needs_libssl(way: object = None) -> None:
    """Skip a test that has to call libssl, unless this Python has a `way` of its own."""
    if not (way or _openssl.reachable()):
        pytest.skip(f"needs libssl: {_openssl.capabilities().reason}")


def connect(
    port: int, context: ssl.SSLContext, *, server_name: str | None = "localhost", path: str | None = "/"
) -> Result:
    """Shake hands, ask for `path` (None: do not ask), and tell what came of it. Raises ssl.SSLError."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=60) as raw,
        context.wrap_socket(raw, server_hostname=server_name) as secure,
    ):
        cipher = secure.cipher()
        certificate = secure.getpeercert(binary_form=True)
        assert cipher is not None
        assert certificate is not None
        seen = Result(
            protocol=secure.version() or "",
            cipher=cipher[0],
            group=_openssl.negotiated_group(secure),
            alpn=secure.selected_alpn_protocol(),
            certificate=certificate,
            facts={},
        )
        return seen if path is None else replace(seen, facts=_ask(secure, path))


def _ask(secure: ssl.SSLSocket, path: str) -> dict[str, Any]:
    secure.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    answer = b""
    while chunk := secure.recv(65536):
        answer += chunk
    if not answer:
        raise ConnectionError("the server closed the connection without an answer")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b" 200 " in head.split(b"\r\n")[0], answer
    result: dict[str, Any] = json.loads(body) if body.startswith(b"{") else {"text": body.decode()}
    return result
