"""Servers that attack whoever audits them: the audit ends, in words, and what they say cannot pose as anything else."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from audited import HEADERS, REPLY, by_tlslite, examine, ids, listening, python_server
from files import Files
from flights import message, record, server_hello, vector
from hypothesis import example, given
from hypothesis import strategies as st
from observations import seen
from pki import PKI
from rich.console import Console

from asgi_tls.audit.probes.handshakes import Trust
from asgi_tls.audit.probes.observed import ServedChain
from asgi_tls.audit.probes.target import parse_target
from asgi_tls.audit.report.html import as_html
from asgi_tls.audit.report.json import as_json
from asgi_tls.audit.report.report import Report, audit, judge
from asgi_tls.audit.report.sarif import as_sarif
from asgi_tls.audit.report.table import print_report
from asgi_tls.certificate.chain import parse_certificate
from asgi_tls.errors import UnreachableError


def look(port: int, files: Files, *, timeout: float = 20) -> Report:
    target = parse_target(f"https://localhost:{port}", connect=f"127.0.0.1:{port}", http_port=port, timeout=timeout)
    return audit(target, cafile=Path(files.ca))


def outputs(report: Report) -> dict[str, str]:
    """The report in every format."""
    terminal = io.StringIO()
    print_report(report, Console(file=terminal, highlight=False, width=100))
    return {
        "json": json.dumps(as_json(report)),
        "sarif": json.dumps(as_sarif(report)),
        "html": as_html(report),
        "terminal": terminal.getvalue(),
    }


def changed(**headers: str | bytes) -> Callable[[], Iterable[bytes]]:
    """A response without fault, with these headers changed or added."""
    fields = {name.encode(): value.encode() for name, value in HEADERS.items()}
    for name, value in headers.items():
        fields[name.replace("_", "-").encode()] = value if isinstance(value, bytes) else value.encode()
    head = b"".join(name + b": " + value + b"\r\n" for name, value in fields.items())
    return lambda: (b"HTTP/1.1 200 OK\r\n" + head + b"\r\n",)


def dripping() -> Iterable[bytes]:
    for byte in itertools.chain(REPLY[:-4], itertools.repeat(0x41)):
        time.sleep(0.01)
        yield bytes((byte,))


HEADS: dict[str, tuple[Callable[[], Iterable[bytes]], set[str], str]] = {
    "a max-age of 5,000 digits": (changed(Strict_Transport_Security="max-age=" + "9" * 5000), set(), "A+"),
    "a max-age of 5,000 zeros": (changed(Strict_Transport_Security="max-age=" + "0" * 5000), set(), "A+"),
    "a max-age of other digits": (changed(Strict_Transport_Security="max-age=٣٣"), {"hsts-malformed"}, "A"),
    "a negative max-age": (changed(Strict_Transport_Security="max-age=-1"), {"hsts-malformed"}, "A"),
    "negative lengths": (changed(Content_Length="-1", Age="-" + "9" * 5000), set(), "A+"),
    "a status of 5,000 digits": (lambda: (b"HTTP/1.1 " + b"2" * 5000 + b" OK\r\n\r\n",), set(), "A"),
    "broken UTF-8": (changed(Server=b"\xff\xfe/1 \xc3\x28", Set_Cookie=b"\xed\xa0\x80=1"), {"cookie-insecure"}, "A"),
    "NUL and control characters": (changed(X_Frame_Options=b"\0DENY\x1b[2J\x7f\x9b31m"), set(), "A+"),
    "a field of 60,000 bytes": (changed(X_Long="x" * 60_000), set(), "A+"),
    "a policy of 60,000 semicolons": (changed(Content_Security_Policy=";" * 60_000), {"csp-unsafe"}, "A+"),
    "a redirect of 60,000 bytes": (
        lambda: (b"HTTP/1.1 302 Found\r\nLocation: http://localhost/" + b"a" * 60_000 + b"\r\n\r\n",),
        {"redirect-downgrade"},
        "C",
    ),
    "a redirect to no URL": (
        lambda: (b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\n" + REPLY.partition(b"\r\n")[2],),
        set(),
        "A+",
    ),
    "200 fields": (lambda: (REPLY[:-2] + b"a: b\r\n" * 200 + b"\r\n",), set(), "A"),
    "a head without end": (lambda: itertools.chain((REPLY[:-2],), itertools.repeat(b"a: b\r\n" * 100)), set(), "A"),
    "a line without end": (lambda: itertools.chain((REPLY[:-2],), itertools.repeat(b"a" * 1000)), set(), "A"),
    "a body without end": (lambda: itertools.chain((REPLY,), itertools.repeat(b"a" * 1000)), set(), "A+"),
    "interim responses without end": (lambda: itertools.repeat(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 40), set(), "A"),
}


@pytest.mark.parametrize("name", HEADS)
def test_heads(files: Files, name: str) -> None:
    reply, found, grade = HEADS[name]
    with python_server(files.ecdsa, reply=reply) as port:
        report = look(port, files)
    web = {each for each in ids(report) if each.startswith(("hsts", "csp-unsafe", "redirect", "cookie"))}
    assert web - {"hsts-missing"} == found
    assert report.grade == grade
    for text in outputs(report).values():
        assert len(text) < 40_000
        assert all(char.isprintable() or char == "\n" for char in text)


def test_a_head_that_drips(files: Files) -> None:
    """Each read brings something, and the whole is limited all the same."""
    with python_server(files.ecdsa, reply=dripping) as port:
        report = look(port, files, timeout=1)
    assert "http-none" in {finding.id for finding in report.findings}


def raw(flight: Callable[[], Iterable[bytes]]) -> Callable[[socket.socket], None]:
    """Answer every hello with these bytes."""

    def one(plain: socket.socket) -> None:
        with plain, contextlib.suppress(OSError):
            plain.settimeout(5)
            plain.recv(65536)
            for piece in flight():
                plain.sendall(piece)
            plain.recv(65536)

    return one


def chain(*certificates: bytes) -> bytes:
    """A flight of TLS 1.2 with these certificates, in records."""
    body = server_hello() + message(11, vector(3, b"".join(vector(3, one) for one in certificates)))
    body += message(12, b"\x03\x00\x1d" + vector(1, bytes(32)) + b"\x04\x01" + vector(2, bytes(64))) + message(14, b"")
    return b"".join(record(22, body[at : at + 16384]) for at in range(0, len(body), 16384))


CA = PKI("Hostile")
LEAF, ROOT = (ssl.PEM_cert_to_DER_cert(pem.decode()) for pem in (CA.leaf().cert_pem, CA.root_pem))

ECDSA_WITH_SHA256 = bytes.fromhex("2a8648ce3d040302")
_NUMBERS = itertools.count()
FLIGHTS: dict[str, tuple[Callable[[], Iterable[bytes]], set[str]]] = {
    "400 certificates": (lambda: (chain(LEAF, *[ROOT] * 400),), {"chain-long"}),
    "no certificate": (lambda: (chain(),), set()),
    "an empty certificate": (lambda: (chain(b""),), {"certificate-unreadable"}),
    "no X.509": (lambda: (chain(b"\x30\x84\xff\xff\xff\xff"),), {"certificate-unreadable"}),
    "an issuer that is no X.509": (lambda: (chain(LEAF, b"\x30\x00" * 1000),), {"certificate-unreadable"}),
    "another certificate each time": (lambda: (chain(next(_NUMBERS).to_bytes(8)),), {"certificate-unreadable"}),
}  # fmt: skip


@given(st.lists(st.tuples(st.integers(0, len(LEAF) - 1), st.integers(0, 255)), min_size=1, max_size=3))
@example([(LEAF.index(ECDSA_WITH_SHA256) + 7, 99), (LEAF.rindex(ECDSA_WITH_SHA256) + 7, 99)])
def test_a_damaged_certificate(damage: list[tuple[int, int]]) -> None:
    """Whatever parses is judged and shown; the example is signed by an algorithm that nobody knows."""
    damaged = bytearray(LEAF)
    for at, value in damage:
        damaged[at] = value
    try:
        leaf = parse_certificate(bytes(damaged))
    except ValueError:
        return
    trust = Trust(trusted=False, code=20, reason="unable to get local issuer certificate")
    served = ServedChain(certificates=(leaf, leaf), sent=2, staple=None, staple_state="absent", trust=trust)
    outputs(judge(seen(chains=(served,))))


@pytest.mark.parametrize("name", FLIGHTS)
def test_flights(files: Files, name: str) -> None:
    flight, found = FLIGHTS[name]
    with listening(raw(flight)) as port:
        report = look(port, files)
    assert {each for each in ids(report) if each.startswith(("chain-long", "certificate"))} == found
    assert report.grade not in {"A+", "A", "A-"}
    assert len(report.findings) < 40
    outputs(report)


HELLO = record(22, server_hello())
ENDLESS: dict[str, tuple[Callable[[], Iterable[bytes]], str]] = {
    "warnings": (lambda: itertools.repeat(record(21, b"\x01\x70") * 100), "does not speak TLS"),
    "empty records": (lambda: itertools.repeat(record(22, b"") * 100), "does not speak TLS"),
    "a record of 64 kB": (lambda: (b"\x16\x03\x03\xff\xff", bytes(65535)), "does not speak TLS"),
    "messages": (lambda: itertools.chain((HELLO,), itertools.repeat(record(22, message(99, b"")) * 100)), ""),
    "a message of 16 MB": (lambda: itertools.chain((HELLO, record(22, b"\x0b\xff\xff\xff")), [b"a" * 99999]), ""),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_flights_without_end(files: Files, name: str) -> None:
    flight, words = ENDLESS[name]
    with listening(raw(flight)) as port:
        if words:
            with pytest.raises(UnreachableError, match=words):
                look(port, files, timeout=2)
        else:
            assert look(port, files, timeout=2).grade not in {"A+", "A"}


def test_a_server_that_takes_its_time_for_everything(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """It accepts each of some hundred suites in each version, slowly: the audit as a whole has a limit."""
    monkeypatch.setattr("asgi_tls.audit.probes.caller._STEPS", 1)

    def one(plain: socket.socket) -> None:
        with plain, contextlib.suppress(OSError):
            plain.settimeout(5)
            if len(hello := plain.recv(65536)) < 44:
                return
            time.sleep(0.05)
            version, after = int.from_bytes(hello[9:11]), 44 + hello[43]
            suite = int.from_bytes(hello[after + 2 : after + 4])
            plain.sendall(record(22, server_hello(suite, version) + message(14, b"")))
            plain.recv(65536)

    with listening(one) as port, pytest.raises(UnreachableError, match="audit was stopped after 2 seconds"):
        look(port, files, timeout=2)


def test_an_anonymous_suite_and_nothing_else(files: Files, tmp_path: Path) -> None:
    """It has no certificate, in no version."""

    def anonymous(context: ssl.SSLContext) -> None:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("AECDH-AES128-SHA:@SECLEVEL=0")

    with python_server(None, anonymous) as port:
        report = examine(port, files.pki, tmp_path)
    assert report.grade == "F"
    assert "suite-anonymous" in ids(report)
    assert not report.seen.chains
    outputs(report)


def test_a_certificate_of_2000_names(files: Files, tmp_path: Path) -> None:
    """Python cannot hold its session, and nobody wants to read its names in a table."""

    class Many:
        certfile, keyfile = files.pki.leaf("localhost", *(f"host{n}.example" for n in range(2000))).write(tmp_path)

    with python_server(Many) as port:
        report = look(port, files)
    assert ids(report) == set()
    assert report.grade == "A+"
    assert "and 1989 more" in outputs(report)["terminal"].replace("\n", " ")


def pair(files: Files) -> tuple[Path, Path]:
    return Path(files.rsa.certfile), Path(files.rsa.keyfile or "")


def test_tickets_without_end(files: Files) -> None:
    def tickets(connection: Any, settings: Any) -> None:
        while True:
            for _ in connection._serverSendTickets(settings):
                pass
            time.sleep(0.01)  # faster than a client that waits for an answer gives up

    with listening(by_tlslite(*pair(files), after=tickets, minVersion=(3, 4), ticketKeys=[bytearray(32)])) as port:
        report = look(port, files, timeout=2)
    assert report.seen.answer is None
    assert report.grade == "A"


def test_an_application_protocol_that_is_no_text(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    serve = by_tlslite(*pair(files))
    import tlslite.extensions as extensions

    original = extensions.ALPNExtension.create
    monkeypatch.setattr(
        extensions.ALPNExtension, "create", lambda self, _names: original(self, [bytearray(b"\xff\x1b[31m")])
    )
    with listening(serve) as port:
        report = look(port, files, timeout=5)
    assert report.seen.handshake is None or report.seen.handshake.alpn is None
    outputs(report)


def test_nothing_goes_on_after_an_audit_that_failed(files: Files) -> None:
    """No thread is left behind that still connects."""
    before = threading.active_count()
    with listening(raw(lambda: (b"SSH-2.0-OpenSSH_9\r\n",))) as port:
        with pytest.raises(UnreachableError, match="does not speak TLS"):
            look(port, files)
        assert [each for each in threading.enumerate() if "ThreadPoolExecutor" in each.name] == []
    assert threading.active_count() <= before
