"""Each way a handshake fails, on every server and loop: the alert or answer, the event with its address, the end."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from files import Files
from handshakes import client, connect
from launch import Launch, split
from servers import Server
from wire import events, hello, say

from asgi_tls.handshake import plain_http

LAUNCHES = [
    *(Launch("uvicorn", loop) for loop in ("asyncio", "uvloop")),
    *(Launch("hypercorn", loop, 0) for loop in ("asyncio", "uvloop")),
    *(Launch("gunicorn", kind) for kind in ("asgi", "gthread", "sync")),
]
ALL = split(LAUNCHES, {"uvicorn-uvloop-1", "hypercorn-asyncio-0"})
TIMEOUT = 2.0


@pytest.fixture(scope="module", params=ALL, ids=str)
def launch(request: pytest.FixtureRequest) -> Launch:
    value: Launch = request.param
    return value


@contextlib.contextmanager
def running(files: Files, launch: Launch, **settings: str) -> Iterator[Server]:
    named = files.ecdsa
    certificate = f"localhost={named.certfile},{named.keyfile}"
    settings = {"log_json": "1", "handshake_timeout": str(TIMEOUT), "certificate": certificate, **settings}
    with launch.start(None, settings) as server:
        yield server


@pytest.fixture(scope="module")
def modern(files: Files, launch: Launch) -> Iterator[Server]:
    with running(files, launch, profile="modern", groups="X25519:P-256") as server:
        yield server


@pytest.fixture(scope="module")
def intermediate(files: Files, launch: Launch) -> Iterator[Server]:
    with running(files, launch, profile="intermediate", groups="X25519:P-256") as server:
        yield server


@pytest.fixture(scope="module")
def mutual(files: Files, launch: Launch) -> Iterator[Server]:
    with running(files, launch, profile="intermediate", client_ca=str(files.ca)) as server:
        yield server


def fail(server: Server, context: ssl.SSLContext, server_name: str | None = "localhost") -> tuple[str, int]:
    """Shake hands, expect an alert: its words, and our port."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as raw:
        port: int = raw.getsockname()[1]
        with pytest.raises(ssl.SSLError) as caught:
            shake_hands_and_ask(context, raw, server_name)
    return caught.value.reason or str(caught.value), port


def shake_hands_and_ask(context: ssl.SSLContext, raw: socket.socket, server_name: str | None) -> None:
    with context.wrap_socket(raw, server_hostname=server_name) as secure:
        secure.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        secure.recv(1)


def told(server: Server, port: int, launch: Launch) -> dict[str, Any]:
    (event,) = events(server, port)
    assert event["event"] == "tls_client_error"
    assert event["ip"] == "127.0.0.1"
    return event


VERSIONS = [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2]


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_an_old_client_reads_why(modern: Server, launch: Launch, version: ssl.TLSVersion) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context = client(minimum=version, maximum=version, ciphers="ALL:@SECLEVEL=0")
    reason, port = fail(modern, context)
    assert reason == "TLSV1_ALERT_PROTOCOL_VERSION"
    event = told(modern, port, launch)
    assert event["code"] == "UNSUPPORTED_PROTOCOL"
    assert event["alert"] == "protocol_version"


FAILURES: list[tuple[str, dict[str, Any], str | None, str, str, str | None]] = [
    # server, client, name, the client's reason, code, alert
    ("modern", {"groups": ["P-521"]}, "localhost", "SSLV3_ALERT_HANDSHAKE_FAILURE", "NO_SUITABLE_KEY_SHARE",
     "handshake_failure"),
    ("intermediate", {"maximum": ssl.TLSVersion.TLSv1_2, "ciphers": "ECDHE-ECDSA-AES256-SHA:@SECLEVEL=0"}, "localhost",
     "SSLV3_ALERT_HANDSHAKE_FAILURE", "NO_SHARED_CIPHER", "handshake_failure"),
    ("intermediate", {"maximum": ssl.TLSVersion.TLSv1_2, "groups": ["P-521"]}, "localhost",
     "SSLV3_ALERT_HANDSHAKE_FAILURE", "NO_SHARED_CIPHER", "handshake_failure"),
    ("modern", {}, "unknown.example", "TLSV1_UNRECOGNIZED_NAME", "UNRECOGNIZED_NAME", "unrecognized_name"),
    ("modern", {}, None, "TLSV1_UNRECOGNIZED_NAME", "UNRECOGNIZED_NAME", "unrecognized_name"),
    ("modern", {"alpn": ["spdy/9"]}, "localhost", "TLSV1_ALERT_NO_APPLICATION_PROTOCOL", "NO_APPLICATION_PROTOCOL",
     "no_application_protocol"),
    ("mutual", {}, "localhost", "TLSV13_ALERT_CERTIFICATE_REQUIRED", "PEER_DID_NOT_RETURN_A_CERTIFICATE",
     "certificate_required"),
    ("mutual", {"maximum": ssl.TLSVersion.TLSv1_2}, "localhost", "SSLV3_ALERT_HANDSHAKE_FAILURE",
     "PEER_DID_NOT_RETURN_A_CERTIFICATE", "handshake_failure"),
]  # fmt: skip


@pytest.mark.parametrize(("which", "how", "name", "reason", "code", "alert"), FAILURES)
def test_a_client_that_cannot_be_served_reads_why(
    request: pytest.FixtureRequest, launch: Launch, which: str, how: dict[str, Any], name: str | None, reason: str,
    code: str, alert: str | None,
) -> None:  # fmt: skip
    server = request.getfixturevalue(which)
    said, port = fail(server, client(**how), name)
    assert reason in said.upper().replace(" ", "_")  # Python does not know the name of each
    event = told(server, port, launch)
    assert event["code"] == code
    assert event["sni"] == name
    assert event["alert"] == alert
    if code == "UNRECOGNIZED_NAME":
        asked = "sent no host name" if name is None else f"asked for a name that is not served: {name!r}"
        assert str(event["msg"]).startswith(f"the client {asked}")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda version: version.name)
def test_an_untrusted_client_certificate(
    files: Files, mutual: Server, launch: Launch, tmp_path: Any, version: ssl.TLSVersion
) -> None:
    from pki import PKI

    context = client(minimum=version, maximum=version)
    context.load_cert_chain(*PKI("Stranger").leaf("client.example").write(tmp_path))
    reason, port = fail(mutual, context)
    assert reason == "TLSV1_ALERT_UNKNOWN_CA"
    event = told(mutual, port, launch)
    assert event["code"] == "CERTIFICATE_VERIFY_FAILED"
    assert event["alert"] == "unknown_ca"


OPENSSL = [
    ("modern", ["-tls1", "-cipher", "ALL:@SECLEVEL=0"], 70),
    ("modern", ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], 70),
    ("modern", ["-tls1_2"], 70),
    ("modern", ["-groups", "P-521"], 40),
    ("modern", ["-ciphersuites", "TLS_AES_128_CCM_SHA256"], 40),
    ("modern", ["-servername", "unknown.example"], 112),
    ("modern", ["-noservername"], 112),
    ("modern", ["-alpn", "spdy/9"], 120),
    ("intermediate", ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-SHA"], 40),
    ("intermediate", ["-tls1_2", "-groups", "P-521"], 40),
    ("mutual", [], 116),
    ("mutual", ["-tls1_2"], 40),
    ("mutual", ["-cert", "{stranger}", "-key", "{key}"], 48),
    ("mutual", ["-tls1_2", "-cert", "{stranger}", "-key", "{key}"], 48),
]


@pytest.mark.system
@pytest.mark.parametrize(("which", "options", "alert"), OPENSSL)
def test_openssls_client_reads_the_alert(
    request: pytest.FixtureRequest, launch: Launch, tmp_path: Any, which: str, options: list[str], alert: int
) -> None:
    from pki import PKI

    server = request.getfixturevalue(which)
    stranger, key = PKI("Stranger").leaf("client.example").write(tmp_path)
    named = [] if {"-servername", "-noservername"} & {*options} else ["-servername", "localhost"]
    options = [option.format(stranger=stranger, key=key) for option in options]
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-ign_eof", *named, *options]
    done = subprocess.run(command, input="GET / HTTP/1.0\r\n\r\n", capture_output=True, text=True, timeout=60)
    assert f"SSL alert number {alert}\n" in done.stderr
    assert "HTTP/1." not in done.stdout


def test_a_client_that_does_not_trust_the_server(modern: Server, launch: Launch) -> None:
    context = ssl.create_default_context()
    with socket.create_connection(("127.0.0.1", modern.port), timeout=60) as raw:
        port = raw.getsockname()[1]
        with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer|self-signed"):
            context.wrap_socket(raw, server_hostname="localhost")
    event = told(modern, port, launch)
    assert event["code"] == "TLSV1_ALERT_UNKNOWN_CA"
    assert event["alert"] is None


GARBAGE = [
    (b"\x00" * 64, [70, 10]),
    (b"SSH-2.0-OpenSSH_9.2\r\n", [70, 10]),
    (bytes(range(128, 256)) * 4, [70, 10]),
    # RFC 8446 section 5.1: a record of more than 2^14 bytes ends the connection with record_overflow.
    (b"\x16\x03\x01" + (2**14 + 1).to_bytes(2) + bytes(2**14 + 1), [22, 50, 10]),
    (b"\x16\x03\x01\xff\xff" + bytes(65535), [22]),
    (b"\x17\x03\x03\x00\x10" + bytes(16), [10]),
    # STUN of WebRTC, which looks like the beginning of a long record: RFC 8656 (Allocate), and framed by RFC 4571.
    (b"\x00\x03\x00\x08\x21\x12\xa4\x42" + bytes(20), [10]),
    (b"\x00\x1c\x00\x01\x00\x08\x21\x12\xa4\x42" + bytes(20), [10]),
    # And what Chromium's WebRTC sends before STUN for a candidate of "ssltcp": the beginning of an SSL 2.0 hello.
    (b"\x80\x46\x01\x03\x01\x00\x2d\x00\x00\x00\x10\x01\x00\x80\x03\x00" + bytes(56), [10]),
]


@pytest.mark.parametrize(("data", "alerts"), GARBAGE, ids=lambda value: str(value[:4]))
def test_garbage(modern: Server, launch: Launch, data: bytes, alerts: list[int]) -> None:
    said = say(modern.port, data)
    assert said.ending == "end"
    assert said.alerts
    assert said.alerts[-1] in alerts
    event = told(modern, said.port, launch)
    assert event["code"].isupper()
    assert event["code"] != "HANDSHAKE_TIMEOUT"


def test_who_does_not_finish_a_client_hello(modern: Server, launch: Launch) -> None:
    first = hello()
    waiting = {"half of it": [first[:100]], "a byte every tenth of a second": [first[at : at + 1] for at in range(40)]}
    if launch.kind != "gthread":  # takes a connection up when it speaks, and closes it by itself when it does not
        waiting["silence"] = []
    with ThreadPoolExecutor() as clients:
        asked = {name: clients.submit(say, modern.port, *chunks, pause=0.1) for name, chunks in waiting.items()}
    for name, answer in asked.items():
        said = answer.result()
        assert said.data == b"", name
        assert said.ending in ({"end", "reset"} if len(waiting[name]) > 1 else {"end"}), name
        assert said.seconds >= TIMEOUT - 0.1, name
        assert told(modern, said.port, launch)["code"] == "HANDSHAKE_TIMEOUT", name


def test_half_a_client_hello_then_the_end(modern: Server, launch: Launch) -> None:
    said = say(modern.port, hello()[:100], finish=True)
    assert told(modern, said.port, launch)["code"] == "CONNECTION_CLOSED"


def test_a_bare_connect(modern: Server, launch: Launch) -> None:
    said = say(modern.port, finish=True)
    event = told(modern, said.port, launch)
    assert event["code"] == "NO_DATA"
    assert event["alert"] is None


def test_a_session_is_told(files: Files, modern: Server, launch: Launch) -> None:
    context = client(ca=files.ca_text)
    with (
        socket.create_connection(("127.0.0.1", modern.port), timeout=60) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as secure,
    ):
        port = raw.getsockname()[1] if raw.fileno() != -1 else secure.getsockname()[1]
        secure.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert secure.recv(65536).startswith(b"HTTP/1.1 200")
    (event,) = events(modern, port)
    assert event["event"] == "tls_session"
    assert (event["ip"], event["sni"], event["protocol"]) == ("127.0.0.1", "localhost", "TLSv1.3")
    assert event["group"] == "X25519"
    assert event["resumed"] is False
    assert 0 < event["duration_ms"] < 5000


def test_it_serves_on_after_all_that(files: Files, modern: Server, launch: Launch) -> None:
    assert connect(modern.port, client(ca=files.ca_text)).protocol == "TLSv1.3"


def test_nothing_is_left_unhandled(modern: Server, intermediate: Server, mutual: Server) -> None:
    for server in (modern, intermediate, mutual):
        assert "Traceback" not in server.text, server.text
        assert "never retrieved" not in server.text


def head_of(data: bytes) -> tuple[bytes, dict[bytes, bytes], bytes]:
    head, _, body = data.partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    return status, dict(line.lower().split(b": ", 1) for line in lines), body


REDIRECTED = [
    (b"GET / HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n", b"https://localhost:{port}/"),
    (b"GET /a?b=c&d=%20 HTTP/1.1\r\nUser-Agent: x\r\nhOST:\tLOCALHOST:1234 \r\n\r\n", b"https://localhost:1234/a?b=c&d=%20"),
    (b"HEAD //x HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"https://127.0.0.1:{port}//x"),
    (b"GET / HTTP/1.0\r\nHost: localhost:443\r\n\r\n", b"https://localhost/"),
    (b"GET / HTTP/1.1\r\nHost: localhost.:000443\r\n\r\n", b"https://localhost/"),
    (b"GET / HTTP/1.1\r\nHost: 127.0.0.1:\r\n\r\n", b"https://127.0.0.1:{port}/"),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "location"), REDIRECTED)
@pytest.mark.parametrize("pieces", [1, 7])
def test_plain_http_is_redirected(
    modern: Server, launch: Launch, request_: bytes, location: bytes, pieces: int
) -> None:
    port = str(modern.port).encode()
    data = request_.replace(b"{port}", port)
    size = len(data) // pieces + 1
    said = say(modern.port, *[data[at : at + size] for at in range(0, len(data), size)], pause=0.02)
    status, fields, body = head_of(said.data)
    # No browser keeps it for what is developed on this machine next.
    assert (status, fields[b"cache-control"]) == (b"HTTP/1.1 307 Temporary Redirect", b"no-store")
    assert fields[b"location"] == location.replace(b"{port}", port)
    assert bool(body) == (not data.startswith(b"HEAD"))
    assert said.ending == "end"
    assert told(modern, said.port, launch)["code"] == "HTTP_REQUEST"


def test_other_hosts_than_this_machine_are_redirected_for_ever() -> None:
    request = b"GET /a HTTP/1.1\r\nHost: EXAMPLE.com.:08443\r\n\r\n"
    status, fields, _ = head_of(
        plain_http.answer(request, mode="redirect", covers={"example.com"}.__contains__, port=443)
    )
    assert (status, fields[b"location"]) == (b"HTTP/1.1 308 Permanent Redirect", b"https://example.com:8443/a")
    assert b"cache-control" not in fields


REFUSED = [
    b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300000,
    b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost@evil.example\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost:99999\r\n\r\n",
    b"GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n folded: x\r\n\r\n",
    b"GET /\x0bx HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\nHost: localhost\n\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc",
    b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"CONNECT localhost:443 HTTP/1.1\r\nHost: localhost:443\r\n\r\n",
]


@pytest.mark.parametrize("request_", REFUSED, ids=lambda value: repr(value[:40]))
def test_plain_http_that_is_refused(modern: Server, launch: Launch, request_: bytes) -> None:
    said = say(modern.port, request_)
    status, fields, body = head_of(said.data)
    assert status == b"HTTP/1.1 400 Bad Request"
    assert b"location" not in fields
    assert body == b"This port speaks HTTPS, and the request came in plain HTTP.\n"
    assert b"evil" not in said.data
    assert said.ending == "end"
    assert told(modern, said.port, launch)["code"] == "HTTP_REQUEST"
