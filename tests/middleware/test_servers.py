"""The whole of it under uvicorn and hypercorn, over TCP and TLS."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from asgi_servers import (
    KeyPair,
    Reply,
    call,
    hello,
    http_scope,
    raw_request,
    running_hypercorn,
    running_uvicorn,
)
from hypercorn.middleware import ProxyFixMiddleware
from servers import serve
from websocket import Talk, talk
from websockets.exceptions import InvalidStatus

from asgi_tls.middleware import TLSMiddleware, redirect_app
from asgi_tls.middleware.acme import CHALLENGE_PATH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from starlette.types import ASGIApp

HSTS = "strict-transport-security"
SETTINGS: dict[str, Any] = {"hosts": ["example.com", "*.example.com", "localhost"], "exempt": ["/health"]}
ROOTED = "/api"


def uvicorn_with(**settings: Any) -> Callable[..., Any]:
    return lambda app, pair=None, **more: running_uvicorn(app, pair, **settings, **more)


SERVERS = {
    "uvicorn-h11": uvicorn_with(http="h11"),
    "uvicorn-httptools": uvicorn_with(http="httptools"),
    "hypercorn": running_hypercorn,
}


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Says what it saw; a POST has HSTS of its own, in capitals."""
    if scope["type"] != "http":
        await hello(scope, receive, send)
        return
    body = json.dumps({"path": scope["path"], "scheme": scope["scheme"], "client": scope["client"][0]}).encode()
    headers = [(b"content-length", b"%d" % len(body))]
    if scope["method"] == "POST":
        headers.append((b"Strict-Transport-Security", b"max-age=1"))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Any:
    return SERVERS[request.param]


@pytest.fixture(scope="module")
def plain_port(server: Any) -> Iterator[int]:
    with server(TLSMiddleware(echo, **SETTINGS)) as port:
        yield port


@pytest.fixture(scope="module")
def tls_port(server: Any, key_pair: KeyPair) -> Iterator[int]:
    with server(TLSMiddleware(echo, **SETTINGS), key_pair) as port:
        yield port


def request(port: int, target: bytes, *fields: bytes, method: bytes = b"GET", pair: KeyPair | None = None) -> Reply:
    head = [method + b" " + target + b" HTTP/1.1", *fields, b"Connection: close"]
    return raw_request(port, b"\r\n".join(head) + b"\r\n\r\n", pair)


def chat(port: int, pair: KeyPair, **more: Any) -> Talk:
    return talk(f"wss://example.com:{port}/chat", host="127.0.0.1", port=port, ssl=pair.client_context(), **more)


@pytest.mark.parametrize(
    ("target", "location"),
    [
        (b"/", "https://example.com/"),
        (b"/a/%C3%BC%ff%2F%0d%0a?b=%20&c=/", "https://example.com/a/%C3%BC%ff%2F%0d%0a?b=%20&c=/"),
        (b"//evil.example/..//x", "https://example.com//evil.example/..//x"),
        (b"/\\evil.example?a=\\b", "https://example.com/%5Cevil.example?a=%5Cb"),
        (b"/?", "https://example.com/"),
    ],
)
def test_http_is_redirected_byte_for_byte(plain_port: int, target: bytes, location: str) -> None:
    reply = request(plain_port, target, b"Host: EXAMPLE.com:80")
    assert (reply.status, reply["location"]) == (308, location)
    assert HSTS not in reply
    assert reply["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST", b"DELETE", b"OPTIONS"])
def test_every_method_is_redirected(plain_port: int, method: bytes) -> None:
    reply = request(plain_port, b"/x", b"Host: a.example.com", b"Content-Length: 0", method=method)
    assert (reply.status, reply["location"], reply.body) == (308, "https://a.example.com/x", b"")


@pytest.mark.parametrize(
    "fields",
    [
        [b"Host: evil.example"],
        [b"Host: example.com.evil.example"],
        [b"Host: user@example.com"],
        [b"Host: example.com", b"Host: example.com"],
        [b"Host: example.com", b"Host: evil.example"],
        [b"Host:"],
        [b"Host: example.com:99999"],
        [b"Host: [fe80::1%25eth0]"],
        [b"X-Forwarded-Host: example.com"],
    ],
)
def test_a_bad_host_gets_400(plain_port: int, fields: list[bytes]) -> None:
    reply = request(plain_port, b"/", *fields)
    assert reply.status == 400
    assert "location" not in reply


def test_the_absolute_form_never_leads_away(plain_port: int) -> None:
    reply = request(plain_port, b"http://evil.example/x", b"Host: example.com")
    # httptools hands on the path alone; the others show the target, whose host is off the list.
    assert reply.status in (308, 400)
    assert reply.all("location") in ([], ["https://example.com/x"])


def test_an_exempt_path_is_answered_over_http_without_hsts(plain_port: int) -> None:
    for method in (b"GET", b"POST"):
        reply = request(plain_port, b"/health", b"Host: 10.0.0.1", b"Content-Length: 0", method=method)
        assert reply.status == 200
        assert HSTS not in reply


def test_over_tls_hsts_is_there_once(tls_port: int, key_pair: KeyPair) -> None:
    for method, value in ((b"GET", "max-age=63072000; includeSubDomains"), (b"POST", "max-age=1")):
        fields = [b"Host: example.com", b"Content-Length: 0"]
        reply = request(tls_port, b"/", *fields, method=method, pair=key_pair)
        assert reply.all(HSTS) == [value]
        assert reply["content-security-policy"].startswith("default-src 'none'")
        local = request(tls_port, b"/", b"Host: localhost", b"Content-Length: 0", method=method, pair=key_pair)
        assert HSTS not in local


def test_early_data(tls_port: int, key_pair: KeyPair) -> None:
    fields = [b"Host: example.com", b"Early-Data: 1", b"Content-Length: 0"]
    assert request(tls_port, b"/", *fields, pair=key_pair).status == 200
    reply = request(tls_port, b"/", *fields, method=b"POST", pair=key_pair)
    assert (reply.status, len(reply.all(HSTS))) == (425, 1)


def test_a_websocket_is_denied_over_http_and_served_over_tls(plain_port: int, tls_port: int, key_pair: KeyPair) -> None:
    upgrade = [b"Upgrade: websocket", b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
    head = b"\r\n".join([b"GET /chat?a=1 HTTP/1.1", b"Host: localhost", b"Connection: Upgrade", *upgrade])
    reply = raw_request(plain_port, head + b"\r\n\r\n")
    assert (reply.status, reply["location"]) == (307, "wss://localhost/chat?a=1")
    assert HSTS not in reply
    answer = chat(tls_port, key_pair)
    assert answer.message == "hello"
    assert answer.headers.get_all(HSTS) == ["max-age=63072000; includeSubDomains"]
    with pytest.raises(InvalidStatus) as denial:
        chat(tls_port, key_pair, additional_headers={"Early-Data": "1"})
    assert denial.value.response.status_code == 425
    assert len(denial.value.response.headers.get_all(HSTS)) == 1


def test_root_path_is_part_of_the_location(server: Any) -> None:
    with server(TLSMiddleware(echo, **SETTINGS), root_path=ROOTED) as port:
        assert request(port, b"/x%20y", b"Host: example.com")["location"] == "https://example.com/api/x%20y"
        assert request(port, b"/health", b"Host: example.com").status == 200


def test_a_challenge_is_served_on_both_sides_of_the_redirect(server: Any, key_pair: KeyPair, tmp_path: Path) -> None:
    directory = tmp_path / CHALLENGE_PATH.strip("/")
    directory.mkdir(parents=True)
    (directory / "token").write_text("token.thumbprint")
    (tmp_path / "secret").write_text("secret")
    app = TLSMiddleware(echo, hosts=["localhost"], webroot=tmp_path)
    with server(app) as plain, server(app, key_pair) as tls:
        for port, pair in ((plain, None), (tls, key_pair)):
            reply = request(port, CHALLENGE_PATH.encode() + b"token", b"Host: localhost", pair=pair)
            assert (reply.status, reply.body) == (200, b"token.thumbprint")
        for climb in (b"..%2f..%2fsecret", b"../../secret", b"%2e%2e/%2e%2e/secret", b"token%00", b"..%5csecret"):
            reply = request(plain, CHALLENGE_PATH.encode() + climb, b"Host: localhost")
            assert reply.status == 307
            assert b"secret" not in reply.body


def test_redirect_app_on_a_plain_port_leads_to_the_tls_port(server: Any, key_pair: KeyPair) -> None:
    with server(TLSMiddleware(echo, hosts=["localhost"]), key_pair) as tls:
        app = redirect_app(hosts=["localhost"], https_port=tls)
        with (
            server(app) as plain,
            httpx.Client(verify=key_pair.client_context(), follow_redirects=True, trust_env=False) as client,
        ):
            response = client.post(f"http://localhost:{plain}/a?b=c", content=b"body")
            assert str(response.url) == f"https://localhost:{tls}/a?b=c"
            assert response.request.method == "POST"
            assert response.json()["path"] == "/a"
            assert HSTS not in response.headers


FORWARDED = [b"Host: example.com", b"X-Forwarded-Proto: https", b"X-Forwarded-For: 192.0.2.7"]


def behind_proxy(name: str, app: ASGIApp, *, trusted: bool) -> Any:
    if name == "hypercorn":
        return running_hypercorn(ProxyFixMiddleware(app, mode="legacy") if trusted else app)  # type: ignore[arg-type]
    return SERVERS[name](app, proxy_headers=True, forwarded_allow_ips="127.0.0.1" if trusted else "192.0.2.1")


@pytest.mark.parametrize("name", SERVERS)
def test_a_trusted_proxy_is_believed(name: str) -> None:
    with behind_proxy(name, TLSMiddleware(echo, **SETTINGS), trusted=True) as port:
        reply = request(port, b"/", *FORWARDED)
        assert json.loads(reply.body) == {"path": "/", "scheme": "https", "client": "192.0.2.7"}
        assert len(reply.all(HSTS)) == 1
        url = f"ws://localhost:{port}/"
        headers = {"X-Forwarded-Proto": "https"}
        assert talk(url, host="127.0.0.1", port=port, additional_headers=headers).message == "hello"


@pytest.mark.parametrize("name", SERVERS)
def test_an_untrusted_proxy_is_not_and_the_loop_is_explained(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with behind_proxy(name, TLSMiddleware(echo, **SETTINGS), trusted=False) as port:
        for _ in range(3):
            reply = request(port, b"/", *FORWARDED)
            assert reply.status == 308
            assert HSTS not in reply
    warnings = [record for record in caplog.records if record.name == "asgi_tls"]
    assert len(warnings) == 1
    assert "--forwarded-allow-ips=127.0.0.1" in warnings[0].getMessage()


# What a trusted proxy may send in X-Forwarded-Proto, and who takes it for https. The others redirect, and say why.
SPELLINGS = {b"https": {"uvicorn", "hypercorn", "gunicorn"}, b"HTTPS": {"hypercorn"}, b"https,https": {"hypercorn"},
             b"https, http": set[str]()}  # fmt: skip


def spellings(port: int, name: str, visitor: bytes) -> int:
    """Send each of them, and count those that were redirected."""
    redirected = 0
    for value, servers in SPELLINGS.items():
        fields = [b"Host: example.com", b"X-Forwarded-Proto: " + value, b"X-Forwarded-For: " + visitor]
        understood = name in servers
        assert request(port, b"/", *fields).status == (200 if understood else 308)
        redirected += not understood
    return redirected


@pytest.mark.parametrize("name", SERVERS)
def test_a_value_that_the_server_does_not_understand_is_explained(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with behind_proxy(name, TLSMiddleware(echo, **SETTINGS), trusted=True) as port:
        assert spellings(port, name.partition("-")[0], b"192.0.2.7") > 0
    (warning,) = [record.getMessage() for record in caplog.records if record.name == "asgi_tls"]
    assert "single word https" in warning
    assert "trusted_hops" in warning
    assert "192.0.2.7" not in warning


def gunicorn(*options: str) -> Any:
    command = [sys.executable, "-m", "gunicorn", "-k", "asgi", "--bind=127.0.0.1:0", *options, "behind_app:canonical"]
    return serve(command, ready="ASGI server listening")


def test_a_proxy_before_gunicorn() -> None:
    with gunicorn() as running:
        assert spellings(running.port, "gunicorn", b"192.0.2.7") == 3
        reply = raw_request(running.port, b"GET /a?b HTTP/1.0\r\n\r\n")
        assert (reply.status, reply["location"]) == (308, "https://example.com/a?b")
    assert running.text.count("single word https") == 1
    with gunicorn("--forwarded-allow-ips=192.0.2.1") as running:
        for _ in range(3):
            assert request(running.port, b"/", *FORWARDED).status == 308
    assert running.text.count("gunicorn by --forwarded-allow-ips=127.0.0.1") == 1


def test_http_1_0_without_a_host_goes_to_the_canonical_one(server: Any) -> None:
    with server(TLSMiddleware(echo, **SETTINGS, canonical_host="www.example.com")) as port:
        reply = raw_request(port, b"GET /a?b HTTP/1.0\r\n\r\n")
    assert (reply.status, reply["location"]) == (308, "https://www.example.com/a?b")


@pytest.mark.parametrize("http2", [True, False])
def test_http2_under_hypercorn(key_pair: KeyPair, http2: bool) -> None:
    app = TLSMiddleware(echo, hosts=["localhost"], content="web")
    with (
        running_hypercorn(app, key_pair) as port,
        httpx.Client(http2=http2, verify=key_pair.client_context(), trust_env=False) as client,
    ):
        nonces = set()
        for _ in range(2):
            response = client.get(f"https://localhost:{port}/", headers={"Host": "example.com"})
            assert response.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
            assert response.headers.get_list(HSTS) == ["max-age=63072000; includeSubDomains"]
            nonces.add(response.headers["content-security-policy"])
        assert len(nonces) == 2
        # Not POST: hypercorn 0.18 ends the connection when an answer comes before the request's body does (its pull
        # request 334), whoever answers.
        early = client.delete(f"https://localhost:{port}/", headers={"Early-Data": "1"})
        assert early.status_code == 425


def test_http2_under_uvicorn(key_pair: KeyPair) -> None:
    pytest.importorskip("zttp", reason="an optional part of uvicorn, for Linux")
    app = TLSMiddleware(echo, hosts=["localhost"])
    with (
        running_uvicorn(app, key_pair, http="zttp", http2=True) as port,
        httpx.Client(http2=True, verify=key_pair.client_context(), trust_env=False) as client,
    ):
        response = client.get(f"https://localhost:{port}/", headers={"Host": "example.com"})
        assert response.http_version == "HTTP/2"
        assert len(response.headers.get_list(HSTS)) == 1
        assert HSTS not in client.get(f"https://localhost:{port}/").headers


def test_lifespan_reaches_the_application() -> None:
    with contextlib.ExitStack() as stack:
        for server in SERVERS.values():
            lifespan: dict[str, Any] = {"lifespan": "on"} if server is not running_hypercorn else {}
            port = stack.enter_context(server(TLSMiddleware(hello, **SETTINGS), **lifespan))
            assert request(port, b"/health", b"Host: example.com").body.startswith(b"hello")
        port = stack.enter_context(running_uvicorn(redirect_app(hosts=["example.com"]), lifespan="on"))
        assert request(port, b"/", b"Host: example.com").status == 308


def test_the_helper_agrees_with_the_servers(plain_port: int) -> None:
    """The tables elsewhere call the middleware directly: the same request gets the same answer here."""
    direct = call(TLSMiddleware(echo, **SETTINGS), http_scope())
    served = request(plain_port, b"/", b"Host: example.com")
    assert direct.status == served.status
    for name, value in direct.headers:
        assert served[name] == value
