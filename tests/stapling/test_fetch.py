"""Asking over HTTP: limits of time, size and redirects, and nothing from the environment."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.x509 import ocsp
from pki import Pair
from responder import Responder

from asgi_tls.stapling.fetch import FetchError, fetch
from asgi_tls.stapling.ocsp import Subject, build_request


@pytest.fixture
def request_(responder: Responder) -> bytes:
    return build_request(Subject(_leaf(responder).certificate, responder.pki.intermediate.certificate))


def _leaf(responder: Responder) -> Pair:
    return responder.leaf()


def test_the_body_comes_as_it_is(responder: Responder, request_: bytes) -> None:
    der = fetch(responder.url, request_)
    assert ocsp.load_der_ocsp_response(der).serial_number in responder.known


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_followed_with_the_same_request(responder: Responder, request_: bytes, status: int) -> None:
    def once(_: Any) -> None:
        responder.status = 200 if len(responder.requests) > 1 else status

    responder.before, responder.headers["Location"] = once, "/other?x=1"
    assert fetch(responder.url, request_)
    assert responder.paths == ["/", "/other?x=1"]
    assert len({*responder.requests}) == 1


def _drip(of: bytes) -> Callable[[Any], None]:
    def drip(handler: Any) -> None:
        handler.wfile.write(of)
        for _ in range(300):
            handler.wfile.write(b".")
            handler.wfile.flush()
            time.sleep(0.1)

    return drip


SLOW = {
    "silent": lambda _: time.sleep(20),
    "a dripping header": _drip(b"HTTP/1.0 200 OK\r\nX-Drip: "),
    "a dripping body": _drip(b"HTTP/1.0 200 OK\r\n\r\n"),
    "a dripping body with a length": _drip(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
}


@pytest.mark.parametrize("slow", SLOW.values(), ids=SLOW)
def test_slow(responder: Responder, request_: bytes, slow: Callable[[Any], None]) -> None:
    responder.before = slow
    started = time.monotonic()
    with pytest.raises(FetchError, match=r"did not answer within 0\.7 s|does not answer: timed out") as caught:
        fetch(responder.url, request_, timeout=0.7)
    assert caught.value.status == "unreachable"
    assert time.monotonic() - started < 5


def test_a_name_that_takes_its_time(request_: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection is there to be cut off, and no thread ends with a traceback: warnings are errors here."""

    def look_up(*_: object, **__: object) -> list[Any]:
        time.sleep(0.6)
        raise OSError("no such name")

    monkeypatch.setattr("socket.getaddrinfo", look_up)
    with pytest.raises(FetchError, match=r"did not answer within 0\.3 s"):
        fetch("http://responder.example/", request_, timeout=0.3)


def _redirect(to: str) -> Callable[[Responder], None]:
    def change(responder: Responder) -> None:
        responder.status, responder.headers["Location"] = 307, to

    return change


BAD: dict[str, tuple[Callable[[Responder], object], str, str]] = {
    "1 MiB": (lambda r: setattr(r, "answer", lambda _: bytes(1 << 20)), "invalid", "more than 64 KiB"),
    "down": (Responder.stop, "unreachable", "does not answer"),
    "404": (lambda r: setattr(r, "status", 404), "invalid", "HTTP status 404"),
    "303": (lambda r: setattr(r, "status", 303), "invalid", "HTTP status 303"),
    "redirects for ever": (_redirect("/"), "invalid", "redirects after 3 redirects"),
    "redirect to a file": (_redirect("file:///etc/passwd"), "invalid", "to another host, ''"),
    "redirect to ftp": (_redirect("ftp://127.0.0.1/"), "invalid", "is not an http"),
    "redirect to another host": (_redirect("http://localhost:1/"), "invalid", "to another host, 'localhost'"),
    "redirect without a scheme": (_redirect("//169.254.169.254/latest"), "invalid", "another host, '169.254.169.254'"),
    "redirect by a name before it": (_redirect("http://127.0.0.1@[::1]:1/"), "invalid", "to another host, '::1'"),
    "redirect to a name that looks like it": (_redirect("http://127.0.0.1.example/"), "invalid", "to another host"),
    "redirect to nowhere": (_redirect("http://127.0.0.1:1/"), "unreachable", "does not answer"),
    "redirect to no address": (_redirect("http://[::/"), "unreachable", "does not answer"),
    "not HTTP": (lambda r: setattr(r, "before", lambda h: h.wfile.write(b"\x16\x03\x01")), "unreachable", "answer"),
    "a large header": (
        lambda r: r.headers.update({"X-Large": "x" * 200_000}), "unreachable", "does not answer",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "status", "says"), BAD.values(), ids=BAD)
def test_bad(
    responder: Responder, request_: bytes, change: Callable[[Responder], object], status: str, says: str
) -> None:
    url = responder.url
    change(responder)
    with pytest.raises(FetchError, match=says) as caught:
        fetch(url, request_, timeout=5)
    assert caught.value.status == status
    assert len(responder.requests) <= 4


def test_what_is_compressed_is_left_so(responder: Responder, request_: bytes) -> None:
    """A bomb of 64 KiB stays one of 64 KiB."""
    responder.headers["Content-Encoding"] = "gzip"
    responder.answer = lambda _: b"\x1f\x8b garbage"
    assert fetch(responder.url, request_) == b"\x1f\x8b garbage"


@pytest.mark.parametrize("url", ["ldap://127.0.0.1/", "file:///etc/passwd", "http://", "http://[::", "nonsense", ""])
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(FetchError, match="is not an http|does not answer"):
        fetch(url, b"")


def test_the_environment_has_no_say(responder: Responder, request_: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert fetch(responder.url, request_)


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ("None", "the package httpx is not installed: pip install 'asgi-tls[stapling]'"),
        ("types.ModuleType('httpx')", "httpx 1 is installed, which is another library: pip install 'httpx<1'"),
    ],
)
def test_without_a_httpx_that_it_knows(found: str, says: str) -> None:
    script = (
        f"import sys, types; sys.modules['httpx'] = {found}\n"
        "from asgi_tls.stapling.fetch import FetchError, fetch\n"
        "try: fetch('http://127.0.0.1:1/', b'')\n"
        "except FetchError as error: print(error.status, error)"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert said == f"unavailable {says}\n"
