"""The answer to a plain HTTP request that arrives where TLS was expected.

A browser that asks for http://host:8443 is redirected to https; everything else gets one sentence. The request is read
with a grammar far narrower than HTTP's (RFC 9112 section 3 and 5): whatever does not fit gets 400, and nothing of it
is repeated. The one exception is the target of a redirect, which goes only to a host that a served certificate covers.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, Literal

from asgi_tls.hostnames import bracketed, is_loopback, parse_authority

PlainHTTP = Literal["redirect", "reject"]

HEAD_LIMIT: Final = 8192
"""Bytes of a request's head that are read before the answer is 400."""

_METHODS: Final = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"CONNECT ", b"OPTIONS ", b"PATCH ", b"PRI ")

# Origin form only (RFC 9112 section 3.2.1), visible ASCII only.
_REQUEST_LINE = re.compile(rb"(GET|HEAD) (/[\x21-\x7e]*) HTTP/1\.[01]")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\t\x80-\xff]*?)[ \t]*")
_HTTPS: Final = 443

_SENTENCE: Final = b"This port speaks HTTPS, and the request came in plain HTTP.\n"


def may_be_http(data: bytes) -> bool:
    """Whether these first bytes are, or may still become, a request in plain HTTP."""
    return any(method.startswith(data) or data.startswith(method) for method in _METHODS)


def is_complete(data: bytes) -> bool:
    """Whether enough of a request has come to answer it."""
    return b"\r\n\r\n" in data or b"\n\n" in data or len(data) > HEAD_LIMIT


def answer(data: bytes, *, mode: PlainHTTP, covers: Callable[[str], bool], port: int | None) -> bytes:
    """The whole response to a request head.

    `covers` returns whether clients accept one of the served certificates for a host. `port` is the HTTPS port that
    clients connect to; the Host field's own port outranks it, since a client that knows it has reached TLS by it.
    """
    head_only = data.startswith(b"HEAD ")
    if mode == "redirect":
        found = _location(data, covers, port)
        if found is not None:
            host, location = found
            fields = b"location: " + location + b"\r\n"
            if is_loopback(host):  # browsers keep a permanent redirect for whatever is developed there next
                status, fields = b"307 Temporary Redirect", fields + b"cache-control: no-store\r\n"
            else:
                status = b"308 Permanent Redirect"
            return _response(status, fields, head_only=head_only)
    return _response(b"400 Bad Request", head_only=head_only)


def _location(data: bytes, covers: Callable[[str], bool], port: int | None) -> tuple[str, bytes] | None:
    head, end, _ = data.partition(b"\r\n\r\n")
    if not end or len(head) > HEAD_LIMIT:
        return None
    first, *lines = head.split(b"\r\n")
    request = _REQUEST_LINE.fullmatch(first)
    fields = [_FIELD.fullmatch(line) for line in lines]
    if request is None or not all(fields):
        return None
    named = [(field[1].lower(), field[2]) for field in fields if field is not None]
    hosts = [value for name, value in named if name == b"host"]
    # A body would arrive behind the redirect; no GET or HEAD needs one.
    if len(hosts) != 1 or any(name in {b"content-length", b"transfer-encoding"} for name, _ in named):
        return None
    authority = parse_authority(hosts[0])
    if authority is None or not covers(authority.host):
        return None
    wanted = authority.port or port
    suffix = "" if wanted in {None, _HTTPS} else f":{wanted}"
    return authority.host, f"https://{bracketed(authority.host)}{suffix}".encode("ascii") + request[2]


def _response(status: bytes, fields: bytes = b"", *, head_only: bool) -> bytes:
    return (
        b"HTTP/1.1 " + status + b"\r\n"
        b"content-type: text/plain; charset=utf-8\r\n"
        b"content-length: %d\r\n"
        b"connection: close\r\n" % len(_SENTENCE) + fields + b"\r\n" + (b"" if head_only else _SENTENCE)
    )
