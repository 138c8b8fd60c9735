"""What parses bytes from outside, as functions that a fuzzer can call: each must come back, and may raise only what it
says. `seeds` are where it begins. `run.py` fuzzes them, and a quick test calls each with its seeds.
"""

from __future__ import annotations

import contextlib
import functools
import json
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from asgi_tls.audit.judges.web import hsts_of
from asgi_tls.audit.probes.http import parse
from asgi_tls.audit.probes.suites import DHE, ECDHE
from asgi_tls.certificate import PEMData
from asgi_tls.certificate.trust import load_ca_bundle
from asgi_tls.errors import CertificateError, ConfigurationError
from asgi_tls.explain import explain
from asgi_tls.handshake import plain_http
from asgi_tls.handshake.alerts import is_webrtc
from asgi_tls.handshake.challenge import is_validation
from asgi_tls.handshake.flight import FlightReader
from asgi_tls.handshake.hello import TLS13, X25519, Offer, read_hello
from asgi_tls.hostnames import checked_name, covers, names_for, parse_authority, parse_ip
from asgi_tls.middleware import HTTPSRedirectMiddleware
from asgi_tls.middleware.answer import Answer
from asgi_tls.middleware.identity import client_identity
from asgi_tls.renewal.acme.answers import Authorization, Directory, Order, RenewalInfo
from asgi_tls.renewal.acme.problems import ACMEError, refusal
from asgi_tls.renewal.acme.schedule import Record, decide, from_json, to_json
from asgi_tls.servers.given import read
from asgi_tls.stapling.cache import _parse as parse_attempt
from asgi_tls.stapling.ocsp import Subject, judge

_NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)
_REQUEST: Final = b"GET /path?query HTTP/1.1\r\nHost: example.com:8443\r\n\r\n"


@dataclass(frozen=True)
class Target:
    """`name` is what the command line takes."""

    name: str
    run: Callable[[bytes], None]
    seeds: Sequence[bytes]


def client_hello(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        read_hello(data)


def server_flight(data: bytes) -> None:
    """The first byte chooses into what pieces the rest comes."""
    size, whole = data[0] + 1 if data else 1, data[1:]
    flights = []
    for step in (size, max(len(whole), 1)):
        reader = FlightReader(ECDHE, DHE)
        for at in range(0, len(whole), step):
            if reader.done:
                break
            reader.feed(whole[at : at + step])
        flights.append(reader.end("closed"))
    assert flights[0].ending == flights[1].ending
    assert flights[0].certificates == flights[1].certificates


def plain_request(data: bytes) -> None:
    plain_http.may_be_http(data)
    plain_http.is_complete(data)
    is_webrtc(data)
    answer = plain_http.answer(data, mode="redirect", covers=lambda host: host == "example.com", port=8443)
    head, _, _ = answer.partition(b"\r\n\r\n")
    assert re.match(rb"HTTP/1\.1 (400|308) ", head)
    location = re.search(rb"\r\nlocation: ([^\r\n]*)", head)
    assert location is None or re.match(rb"https://example\.com(:\d+)?/", location[1])
    assert head.count(b"\r\n") <= 5


def response_head(data: bytes) -> None:
    with contextlib.suppress(EOFError):
        answer = parse(data)
        if answer is not None:
            hsts_of(answer)
            answer.leads_to("https://example.com/")


def host(data: bytes) -> None:
    authority = parse_authority(data)
    if authority is not None:  # what is accepted is canonical: reading it again changes nothing
        again = parse_authority(authority.host.encode("ascii") if ":" not in authority.host else data)
        assert again is not None
        assert again.host == authority.host
    text = data.decode("utf-8", "replace")
    parse_ip(text)
    with contextlib.suppress(ConfigurationError):
        name = checked_name(text)
        assert checked_name(name) == name
        assert parse_ip(name) is not None or covers(names_for([name], []), name)


@functools.cache
def _redirect() -> HTTPSRedirectMiddleware:
    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        raise AssertionError

    return HTTPSRedirectMiddleware(app, hosts=["example.com", "*.example.org"])


def redirect(data: bytes) -> None:
    """Fields, one on each line; the first line is the target."""
    target, *lines = data.split(b"\n")
    path, _, query = target.partition(b"?")
    fields = [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]
    scope = {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "http_version": "1.1",
        "root_path": "",
        "path": path.decode("latin-1"),
        "raw_path": path,
        "query_string": query,
        "headers": fields,
        "client": ("192.0.2.1", 1),
        "server": ("192.0.2.2", 80),
    }
    answer = _redirect().intercept(scope)
    if isinstance(answer, Answer):
        for name, value in answer.headers:
            assert b"\r" not in value
            assert b"\n" not in value
            if name == b"location":
                assert re.match(rb"https://([a-z0-9-]+\.)*example\.(com|org)(:\d+)?(/|\?|$)", value)


def client_certificate(data: bytes) -> None:
    pem = data.decode("latin-1")
    client_identity({"type": "http", "extensions": {"tls": {"client_cert_chain": [pem]}}})


def pem(data: bytes) -> None:
    with contextlib.suppress(CertificateError):
        PEMData(data).load()


@contextlib.contextmanager
def _file(data: bytes, suffix: str) -> Iterator[str]:
    """For what reads files only. A process that is killed leaves at most one."""
    with tempfile.NamedTemporaryFile(prefix="asgi-tls-fuzz-", suffix=suffix) as file:
        file.write(data)
        file.flush()
        yield file.name


def ca_bundle(data: bytes) -> None:
    with _file(data, ".pem") as path, contextlib.suppress(CertificateError):
        load_ca_bundle(Path(path))


def settings_file(data: bytes) -> None:
    with _file(data, ".toml") as path, contextlib.suppress(ConfigurationError):
        read({"config": path}, environ={})


def pasted_text(data: bytes) -> None:
    explain(data.decode("utf-8", "replace"))


def cached_attempt(data: bytes) -> None:
    parse_attempt(data)


def acme_answer(data: bytes) -> None:
    """What a CA answers, in JSON, as each of the things that it may stand for."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return
    for kind in (Directory, Order, Authorization, RenewalInfo):
        with contextlib.suppress(ACMEError):
            kind.parse("CA", document)
    error = refusal("CA", document, status=400)
    assert str(error).isprintable()
    assert len(str(error)) < 3000


def acme_record(data: bytes) -> None:
    record = from_json(data)
    decide(record, 1.8e9)
    assert from_json(to_json(record)) == record


def acme_validation(data: bytes) -> None:
    is_validation(data)


@functools.cache
def _subject() -> Subject:
    from cryptography import x509

    chain = x509.load_pem_x509_certificates(_CHAIN)
    return Subject(chain[0], chain[1])


def ocsp_response(data: bytes) -> None:
    answer = judge(data, _subject(), _NOW)
    assert not answer.is_good or answer.der == data


def _chain() -> bytes:
    """A certificate with its key and its issuer, made for each run: nothing here depends on their values."""
    from pki import PKI

    made = PKI()
    leaf = made.leaf("example.com")
    return leaf.chain_pem + leaf.key_pem


_CHAIN: Final = _chain()

_FIELDS: Final = b"/a?b\nhost: example.com\nx-forwarded-for: 192.0.2.9\nforwarded: for=x;proto=https"
_HELLO: Final = Offer(
    version=TLS13, suites=[0x1301], groups=[X25519], server_name="example.com", shares={X25519: bytes(32)}
).record()

_ORDER: Final = json.dumps(
    {
        "status": "pending",
        "identifiers": [{"type": "dns", "value": "example.com"}],
        "authorizations": ["https://ca/1"],
        "finalize": "https://ca/2",
        "suggestedWindow": {"start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z"},
    }
).encode("ascii")

TARGETS: Final = (
    Target("client-hello", client_hello, [_HELLO]),
    Target("server-flight", server_flight, [b"\x00" + _HELLO, b"\x05\x15\x03\x03\x00\x02\x02\x28"]),
    Target("plain-request", plain_request, [_REQUEST, b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12)]),
    Target(
        "response-head",
        response_head,
        [b"HTTP/1.1 308 Moved\r\nLocation: /x\r\nStrict-Transport-Security: max-age=1; preload\r\n\r\n"],
    ),
    Target("host", host, [b"example.com:443", b"[2001:db8::1]:8443", "straße.example".encode(), b"xn--fa-hia.de"]),
    Target("redirect", redirect, [_FIELDS]),
    Target("client-certificate", client_certificate, [_CHAIN]),
    Target("pem", pem, [_CHAIN, b"0\x82\x01\x00\x02\x01\x03"]),
    Target("ca-bundle", ca_bundle, [_CHAIN]),
    Target("settings-file", settings_file, [b'profile = "modern"\ngroups = ["X25519"]\ncertificate = ["a=b,c"]\n']),
    Target(
        "pasted-text",
        pasted_text,
        [b"[SSL: CERTIFICATE_VERIFY_FAILED] (_ssl.c:1006)", b"error:0A000102", b"curl: (60)"],
    ),
    Target(
        "cached-attempt",
        cached_attempt,
        [b'{"status": "unreachable", "msg": "", "failures": 1, "at": 0, "again_at": 9}'],
    ),
    Target("acme-answer", acme_answer, [_ORDER, b'{"type": "urn:ietf:params:acme:error:caa", "detail": "x"}']),
    Target("acme-record", acme_record, [to_json(Record())]),
    Target("acme-validation", acme_validation, [_HELLO]),
    Target("ocsp-response", ocsp_response, [b"0\x03\x0a\x01\x06"]),
)
