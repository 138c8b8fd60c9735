"""Servers that need nothing but Python: the demo, plain uvicorn and hypercorn, and some that misbehave."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asgi_servers import KeyPair, running_hypercorn, running_uvicorn
from audited import HEADERS, REPLY, Plain, by_tlslite, examine, ids, listening, python_server
from demo import DEMO, demo_served
from files import Files
from launch import Launch
from pki import PKI
from servers import serve

from asgi_tls import INTERMEDIATE
from asgi_tls.audit.probes.groups import CURRENT_GROUPS
from asgi_tls.audit.probes.target import parse_target
from asgi_tls.audit.report.report import audit
from asgi_tls.errors import UnreachableError


async def headed(scope: Any, receive: Any, send: Any) -> None:
    """An application without fault."""
    if scope["type"] == "http":
        headers = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
        await send({"type": "http.response.start", "status": 200, "headers": [*headers, (b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


def key_pair(files: Files) -> KeyPair:
    return KeyPair(Path(files.ecdsa.certfile), Path(files.ecdsa.keyfile or ""))


def found(port: int, files: Files, tmp_path: Path, **how: Any) -> tuple[set[str], str]:
    report = examine(port, files.pki, tmp_path, **how)
    return ids(report), report.grade


@pytest.mark.parametrize("launch", [Launch("uvicorn", "uvloop"), Launch("hypercorn", "asyncio", 0)], ids=str)
def test_the_demo_gets_an_a_plus(files: Files, tmp_path: Path, launch: Launch) -> None:
    with demo_served(launch, files.ecdsa) as server:
        report = examine(server.port, files.pki, tmp_path, profile=INTERMEDIATE)
    assert report.grade == "A+"
    assert ids(report) <= {"profile-lacks"}  # X25519MLKEM768, where OpenSSL is older than 3.5
    assert report.seen.refusals.without_alert == 0


def test_plain_uvicorn(files: Files, tmp_path: Path) -> None:
    with running_uvicorn(headed, key_pair(files)) as port:
        expected = {"alert-missing", "group-extra", "suite-cbc", "suite-short-tag"} - SHORT
        assert found(port, files, tmp_path) == (expected, "A")


def test_plain_hypercorn(files: Files, tmp_path: Path) -> None:
    with running_hypercorn(headed, key_pair(files)) as port:
        assert found(port, files, tmp_path) == ({"alert-missing", "group-extra"}, "A+")


# Whether Python's own list of suites has CCM_8 depends on its OpenSSL.
SHORT = (
    set()
    if any("CCM8" in each["name"] for each in ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).get_ciphers())
    else {"suite-short-tag"}
)


def _tls12_only(context: ssl.SSLContext) -> None:
    context.maximum_version = ssl.TLSVersion.TLSv1_2


def _no_tickets(context: ssl.SSLContext) -> None:
    context.minimum_version = TLS13  # TLS 1.2 would resume by session id until the server has let go of the connection
    context.num_tickets = 0


def _cbc(context: ssl.SSLContext) -> None:
    context.set_ciphers("ECDHE+AESGCM:ECDHE-ECDSA-AES128-SHA256:@SECLEVEL=0")


def _static(context: ssl.SSLContext) -> None:
    context.set_ciphers("ECDHE+AESGCM:AES128-GCM-SHA256")


@pytest.mark.parametrize(
    ("kind", "change", "expected", "grade"),
    [
        ("ecdsa", lambda _context: None, set(), "A+"),
        ("ecdsa", _tls12_only, {"protocol-no-tls13"}, "A-"),
        ("ecdsa", _no_tickets, {"resumption-none"}, "A+"),
        ("ecdsa", _cbc, {"suite-cbc"}, "A"),
        ("rsa", _static, {"suite-static"}, "B"),
        ("example", lambda _context: None, {"name-mismatch"}, "M"),
    ],
)
def test_one_thing_wrong(
    files: Files, tmp_path: Path, kind: str, change: Callable[[ssl.SSLContext], None], expected: set[str], grade: str
) -> None:
    with python_server(getattr(files, kind), change) as port:
        assert found(port, files, tmp_path) == (expected, grade)


@pytest.mark.parametrize(
    ("version", "cipher", "expected"),
    [
        ((3, 0), "aes128", {"protocol-sslv3", "protocol-outdated", "suite-static", "suite-cbc"}),
        ((3, 1), "3des", {"protocol-tls10", "protocol-outdated", "suite-64-bit-block"}),
        ((3, 3), "rc4", {"protocol-no-tls13", "suite-rc4"}),
        ((3, 3), "3des", {"protocol-no-tls13", "suite-64-bit-block"}),
    ],
)
def test_what_openssl_has_given_up(
    files: Files, tmp_path: Path, version: tuple[int, int], cipher: str, expected: set[str]
) -> None:
    """By tlslite-ng, which still has it. Python's own client cannot get in: nothing is said of HTTP and resumption."""
    one = by_tlslite(
        Path(files.rsa.certfile),
        Path(files.rsa.keyfile or ""),
        minVersion=version,
        maxVersion=version,
        cipherNames=[cipher],
        macNames=["sha", "md5"],
    )
    with listening(one) as port:
        report = examine(port, files.pki, tmp_path)
    assert {each for each in ids(report) if each.startswith(("protocol", "suite"))} == expected


def test_a_server_that_refuses_hybrid_groups_in_tls_1_2(files: Files, tmp_path: Path) -> None:
    """TLS 1.2 is offered all the same, and the clients that are refused are reported."""
    hybrid = b"".join(number.to_bytes(2) for number in CURRENT_GROUPS)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.ecdsa.certfile, files.ecdsa.keyfile)
    context.set_ecdh_curve("prime256v1")
    context.set_ciphers("ECDHE+AESGCM")

    def one(plain: socket.socket) -> None:
        with plain, contextlib.suppress(OSError):
            plain.settimeout(5)
            if hybrid in plain.recv(4096, socket.MSG_PEEK):
                plain.recv(4096)
                plain.sendall(b"\x15\x03\x03\x00\x02\x02\x28")  # handshake_failure
                return
            with context.wrap_socket(plain, server_side=True) as secure:
                if secure.recv(4096):
                    secure.sendall(REPLY)
                    secure.recv(4096)

    with listening(one) as port:
        report = examine(port, files.pki, tmp_path)
    assert report.seen.speaks("TLSv1.2")
    assert ids(report) == {"hybrid-refused"}


def test_both_certificates_of_one_name_are_looked_at(files: Files, tmp_path: Path) -> None:
    weak = PKI("Other").leaf(key="rsa")
    pair = weak.write(tmp_path / "rsa")

    def both(context: ssl.SSLContext) -> None:
        context.load_cert_chain(*pair)

    with python_server(files.ecdsa, both) as port:
        report = examine(port, files.pki, tmp_path)
    assert ids(report) == {"not-trusted"}
    assert len(report.seen.chains) == 2
    assert [one.trust and one.trust.trusted for one in report.seen.chains].count(True) == 1


def test_without_trust_the_rest_is_audited(files: Files, tmp_path: Path) -> None:
    with python_server(files.ecdsa, lambda _context: None) as port:
        report = examine(port, PKI("Stranger"), tmp_path, trust_matters=False)
        assert (ids(report), report.grade) == (set(), "A+")
        assert found(port, files, tmp_path, plain=Plain(200, None)) == ({"redirect-missing"}, "A")
        strict = examine(port, PKI("Stranger"), tmp_path)
    assert (ids(strict), strict.grade) == ({"not-trusted"}, "T")


def test_over_ipv6(files: Files, tmp_path: Path) -> None:
    pair = files.pki.leaf("::1")
    paths = pair.write(tmp_path / "six")

    class Six:
        certfile, keyfile = paths

    ca = tmp_path / "ca.pem"
    ca.write_bytes(files.pki.root_pem)
    with python_server(Six, lambda _context: None, family=socket.AF_INET6) as port:
        report = audit(parse_target(f"https://[::1]:{port}", http_port=port, timeout=20), cafile=ca)
    assert ids(report) == set()
    assert report.seen.address == "::1"


def test_a_client_certificate_is_asked_for(files: Files, tmp_path: Path) -> None:
    def mutual(context: ssl.SSLContext) -> None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(files.ca)

    def mutual_1_3(context: ssl.SSLContext) -> None:
        mutual(context)
        context.minimum_version = TLS13

    for change in (mutual, mutual_1_3):
        with python_server(files.ecdsa, change) as port:
            report = examine(port, files.pki, tmp_path)
        assert ids(report) == set()
        assert {"client-certificate", "http-none"} <= {finding.id for finding in report.findings}
        assert report.grade == "A"  # HSTS is out of sight


TLS13 = ssl.TLSVersion.TLSv1_3


def test_the_guard_is_not_tripped_by_an_audit(files: Files, tmp_path: Path) -> None:
    """Its default is 20 failures; an audit counts as 5, as docs/check.md says."""
    script = (
        "import uvicorn; from asgi_tls import ServerTLS, PEMFiles;"
        "from asgi_tls.listeners.guard import HandshakeGuard;"
        "from asgi_tls.listeners.log import log_events;"
        f"tls = ServerTLS(PEMFiles({str(files.ecdsa.certfile)!r}, {str(files.ecdsa.keyfile)!r}),"
        " listeners=[log_events, HandshakeGuard(failures=6)]);"
        f"uvicorn.run('app:app', app_dir={str(DEMO)!r}, port=0, **tls.uvicorn_kwargs())"
    )
    with serve([sys.executable, "-c", script], ready="Uvicorn running on") as server:
        report = examine(server.port, files.pki, tmp_path)
        assert report.grade == "A+"
        assert "blocked" not in server.text


def test_a_server_that_blocks_in_the_middle_is_not_judged(files: Files) -> None:
    """Its refusals would read as findings."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.ecdsa.certfile, files.ecdsa.keyfile)
    left = threading.Semaphore(9)

    def one(plain: socket.socket) -> None:
        with plain, contextlib.suppress(OSError):
            if left.acquire(blocking=False):
                plain.settimeout(5)
                context.wrap_socket(plain, server_side=True).close()

    with listening(one) as port, pytest.raises(UnreachableError, match="stopped answering"):
        audit(parse_target(f"https://localhost:{port}", connect=f"127.0.0.1:{port}", http_port=port, timeout=20))


def _silence(plain: socket.socket) -> None:
    with plain, contextlib.suppress(OSError):
        plain.settimeout(10)
        while plain.recv(4096):
            pass


def _drip(plain: socket.socket) -> None:
    with plain, contextlib.suppress(OSError):
        for _ in range(100):
            plain.sendall(b"\x16")
            if plain.recv(1, socket.MSG_PEEK) == b"":
                return
            time.sleep(0.05)


def _http(plain: socket.socket) -> None:
    with plain, contextlib.suppress(OSError):
        plain.recv(4096)
        plain.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def _garbage(plain: socket.socket) -> None:
    with plain, contextlib.suppress(OSError):
        plain.recv(4096)
        while True:
            plain.sendall(b"\x16\x03\x03\x40\x00" + os.urandom(16384))


@pytest.mark.parametrize("misbehave", [_silence, _drip, _http, _garbage, socket.socket.close])
def test_what_is_no_tls_ends_soon_and_in_words(misbehave: Callable[[socket.socket], None]) -> None:
    with listening(misbehave) as port, pytest.raises(UnreachableError, match="does not speak TLS"):
        audit(parse_target(f"https://localhost:{port}", connect=f"127.0.0.1:{port}", http_port=port, timeout=0.5))
