"""The head of a response, and what is audited at all."""

from __future__ import annotations

import pytest

from asgi_tls.audit.probes import http
from asgi_tls.audit.probes.target import parse_target
from asgi_tls.errors import ConfigurationError


@pytest.mark.parametrize(
    ("data", "status", "fields"),
    [
        (b"HTTP/1.1 200 OK\r\nA: 1\r\na:2\r\n\r\nbody", 200, (("A", "1"), ("a", "2"))),
        (b"HTTP/1.0 404\r\n\r\n", 404, ()),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\nX: y\r\n\r\n", 204, (("X", "y"),)),
        (b"HTTP/1.1 200 OK\nX: y\n\n", 200, (("X", "y"),)),
        (b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", 200, (("X", "a b"),)),
    ],
)
def test_an_answer(data: bytes, status: int, fields: tuple[tuple[str, str], ...]) -> None:
    parsed = http.parse(data)
    assert parsed is not None
    assert (parsed.status, parsed.fields) == (status, fields)


@pytest.mark.parametrize(
    "data",
    [
        b"<html>",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 999 x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n",
        b"SSH-2.0-OpenSSH_9\r\n\r\n",
    ],
)
def test_no_answer(data: bytes) -> None:
    assert http.parse(data) is None


@pytest.mark.parametrize("data", [b"", b"HTT", b"HTTP/1.1 200 OK\r\nA: 1", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_an_answer_that_goes_on(data: bytes) -> None:
    with pytest.raises(EOFError, match="incomplete"):
        http.parse(data)


@pytest.mark.parametrize(
    ("url", "host", "port", "path"),
    [
        ("https://example.com", "example.com", 443, "/"),
        ("example.com", "example.com", 443, "/"),
        ("localhost:8443", "localhost", 8443, "/"),
        ("https://EXAMPLE.com:8443/a?b=c", "example.com", 8443, "/a?b=c"),
        ("https://[::1]:8443", "::1", 8443, "/"),
        ("https://b\u00fccher.example", "xn--bcher-kva.example", 443, "/"),
    ],
)
def test_targets(url: str, host: str, port: int, path: str) -> None:
    target = parse_target(url)
    assert (target.host, target.port, target.path) == (host, port, path)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://example.com", "'http://example.com' is not an https URL"),
        ("ftp://example.com", "is not an https URL"),
        ("https://", "has no valid host"),
        ("https://user@example.com", "has no valid host"),
        ("https://example.com:0", "the port of 'https://example.com:0' is 0. Ports are"),
        ("https://example.com:99999", "is not a valid URL"),
        ("https://example.com:x", "is not a valid URL"),
        ("https://[::1", "is not a valid URL"),
        ("https://exa mple.com", "'exa mple.com'"),
        ("https://999.1.1.1", "'999.1.1.1'"),
        ("https://example.com/\r\nX: y", "not valid in a path"),
        ("https://example.com/a b", "not valid in a path"),
        ("https://example.com/\u00fc", "not valid in a path"),
    ],
)
def test_wrong_targets(url: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        parse_target(url)


@pytest.mark.parametrize("connect", ["127.0.0.1", "::1:443", "[::1]", "a:0", "a:65536", ":1"])
def test_wrong_addresses_to_connect_to(connect: str) -> None:
    with pytest.raises(ConfigurationError, match="--connect is|the port of --connect is|not a valid host"):
        parse_target("https://example.com", connect=connect)
