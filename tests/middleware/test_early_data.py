"""RFC 8470: what arrived as early data and is not safe gets 425."""

from __future__ import annotations

from typing import Any

import pytest
from asgi_servers import call, hello, http_scope, websocket_scope

from asgi_tls.errors import ConfigurationError
from asgi_tls.middleware import EarlyDataMiddleware, TLSMiddleware

MARKED = [
    [(b"early-data", b"1")],
    [(b"Early-Data", b"1")],
    [(b"early-data", b"0")],
    [(b"early-data", b"")],
    [(b"early-data", b"yes")],
    [(b"early-data", b"1"), (b"early-data", b"1")],
    [(b"early-data", b"0"), (b"early-data", b"1")],
    [(b"early-data", b"1, 1")],
]


def status(method: str, headers: Any, **settings: Any) -> int:
    scope = http_scope(scheme="https", method=method, headers=[(b"host", b"example.com"), *headers])
    statuses = {
        call(EarlyDataMiddleware(hello, **settings), scope).status,
        call(TLSMiddleware(hello, hosts=["example.com"], **settings), scope).status,
    }
    (only,) = statuses
    return only


@pytest.mark.parametrize("headers", MARKED)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "CONNECT", "PROPFIND", "post", "get", ""])
def test_unsafe_methods_are_too_early(method: str, headers: Any) -> None:
    assert status(method, headers) == 425


@pytest.mark.parametrize("headers", MARKED)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE"])
def test_safe_methods_pass(method: str, headers: Any) -> None:
    assert status(method, headers) == 200


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_without_the_field_everything_passes(method: str) -> None:
    assert status(method, [(b"x-early-data", b"1")]) == 200


def test_the_safe_methods_can_be_chosen() -> None:
    assert status("GET", MARKED[0], safe_methods=["HEAD"]) == 425
    assert status("PROPFIND", MARKED[0], safe_methods=["GET", "PROPFIND"]) == 200
    assert status("GET", MARKED[0], safe_methods=[]) == 425


@pytest.mark.parametrize("methods", ["GET", ["get"], [""], ["GET POST"], ["GET\n"]])
def test_methods_that_are_none_are_refused(methods: Any) -> None:
    with pytest.raises(ConfigurationError, match="is not a request method|is the string"):
        EarlyDataMiddleware(hello, safe_methods=methods)


@pytest.mark.parametrize("headers", MARKED)
def test_a_websocket_has_to_wait(headers: Any) -> None:
    app = EarlyDataMiddleware(hello)
    assert call(app, websocket_scope(scheme="wss", headers=headers)).status == 425
    (message,) = call(app, websocket_scope(scheme="wss", headers=headers, extensions={})).messages
    assert message["type"] == "websocket.close"


def test_the_refusal_carries_the_security_headers() -> None:
    scope = http_scope(scheme="https", method="POST", headers=[(b"early-data", b"1")])
    reply = call(TLSMiddleware(hello, hosts=["example.com"]), scope)
    assert (reply.status, len(reply.all("strict-transport-security"))) == (425, 1)
