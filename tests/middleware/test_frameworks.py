"""Starlette, FastAPI, Litestar and Quart with TLSMiddleware, in the ways that docs/middleware.md gives."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import fastapi
import httpx
import litestar
import pytest
from asgi_servers import KeyPair, Reply, call, http_scope, raw_request, running_uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from asgi_tls.middleware import TLSMiddleware
from asgi_tls.middleware.acme import CHALLENGE_PATH

HOSTS = ["example.com"]


# Each as docs/middleware.md puts it. Their page shows its nonce.
def starlette_app(**settings: Any) -> Any:
    def page(request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.state.csp_nonce)

    return Starlette(routes=[Route("/", page)], middleware=[Middleware(TLSMiddleware, **settings)])


def fastapi_app(**settings: Any) -> Any:
    app = fastapi.FastAPI()
    app.add_middleware(TLSMiddleware, **settings)

    @app.get("/")
    def page(request: fastapi.Request) -> Any:
        return PlainTextResponse(request.state.csp_nonce)

    return app


def litestar_app(**settings: Any) -> Any:
    @litestar.get("/", media_type="text/plain", sync_to_thread=False)
    def page(request: litestar.Request[Any, Any, Any]) -> str:
        return str(request.scope["state"]["csp_nonce"])

    return TLSMiddleware(litestar.Litestar([page]), **settings)  # type: ignore[arg-type]  # stricter than ASGI


def quart_app(**settings: Any) -> Any:
    import quart

    app = quart.Quart(__name__)

    @app.get("/")
    async def page() -> str:
        return str(quart.request.scope["state"]["csp_nonce"])

    app.asgi_app = TLSMiddleware(app.asgi_app, **settings)  # type: ignore[method-assign,arg-type,assignment]
    return app


@pytest.mark.parametrize("make", [starlette_app, fastapi_app, litestar_app, quart_app])
def test_the_framework_serves_through_it(make: Any, key_pair: KeyPair, tmp_path: Path) -> None:
    challenge = tmp_path / CHALLENGE_PATH.strip("/") / "token"
    challenge.parent.mkdir(parents=True)
    challenge.write_text("token.key")
    settings = {"hosts": HOSTS, "content": "web", "webroot": tmp_path}

    def ask(path: str, pair: KeyPair | None = None) -> Reply:
        return raw_request(
            port, f"GET {path} HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n".encode(), pair
        )

    with running_uvicorn(make(**settings), lifespan="on") as port:
        for path in ("/", "/missing"):
            reply = ask(path)
            assert (reply.status, reply["location"]) == (308, f"https://example.com{path}")
            assert "strict-transport-security" not in reply
        assert ask(f"{CHALLENGE_PATH}token").body == b"token.key"
    with running_uvicorn(make(**settings), key_pair, lifespan="on") as port:
        for path, status in (("/", 200), ("/missing", 404)):
            reply = ask(path, key_pair)
            assert (reply.status, len(reply.all("strict-transport-security"))) == (status, 1)
            assert "'nonce-" in reply["content-security-policy"]
        reply = ask("/", key_pair)
        assert f"'nonce-{reply.body.decode()}'" in reply["content-security-policy"]
        assert ask(f"{CHALLENGE_PATH}token", key_pair).body == b"token.key"


def test_the_test_client_of_each_framework_is_served_in_development() -> None:
    """With the host that it has by default; httpx has none, and gets that of FastAPI's documentation. Starlette's
    client is that of docs/testing.md.
    """
    import quart
    from litestar.testing import TestClient

    def hello() -> str:
        return "hello"

    app = fastapi.FastAPI()
    app.add_middleware(TLSMiddleware, hosts=HOSTS, development=True)
    app.add_api_route("/", hello)

    async def by_httpx() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await client.get("/")

    assert asyncio.run(by_httpx()).json() == "hello"

    page = litestar.get("/", sync_to_thread=False)(hello)
    wrapped: Any = TLSMiddleware(litestar.Litestar([page]), hosts=HOSTS, development=True)  # type: ignore[arg-type]
    with TestClient(wrapped) as client:
        assert client.get("/").text == "hello"

    quart_app = quart.Quart(__name__)
    quart_app.add_url_rule("/", view_func=hello)
    quart_app.asgi_app = TLSMiddleware(quart_app.asgi_app, hosts=HOSTS, development=True)  # type: ignore[method-assign,arg-type,assignment]

    async def by_quart() -> bytes:
        return await (await quart_app.test_client().get("/")).get_data(as_text=False)

    assert asyncio.run(by_quart()) == b"hello"


ORIGIN = "https://app.example"


@pytest.mark.parametrize("outside", [True, False])
def test_cors_is_heard_where_it_stands_outside(outside: bool) -> None:
    """The order of docs/middleware.md; the other one leaves scripts without a status to read."""
    app = fastapi.FastAPI()
    cors = {"middleware_class": CORSMiddleware, "allow_origins": [ORIGIN], "allow_headers": ["early-data"]}
    tls = {"middleware_class": TLSMiddleware, "hosts": HOSTS}
    for each in (tls, cors) if outside else (cors, tls):
        app.add_middleware(**each)  # type: ignore[arg-type]  # one of two kinds of settings

    @app.get("/")
    def items() -> list[str]:
        return []

    origin = (b"origin", ORIGIN.encode())
    host = (b"host", b"example.com")
    answers = [
        (308, http_scope(headers=[host, origin])),
        (400, http_scope(headers=[(b"host", b"other.example"), origin])),
        (425, http_scope(scheme="https", method="POST", headers=[host, origin, (b"early-data", b"1")])),
    ]
    for status, scope in answers:
        reply = call(app, scope)
        assert (reply.status, reply.all("access-control-allow-origin")) == (status, [ORIGIN] if outside else [])
    assert call(app, http_scope(scheme="https", headers=[host, origin])).all("access-control-allow-origin") == [ORIGIN]
    preflight = [host, origin, (b"access-control-request-method", b"GET")]
    assert call(app, http_scope(method="OPTIONS", headers=preflight)).status == (200 if outside else 308)


def failing_app() -> Starlette:
    def refused(request: Request) -> PlainTextResponse:
        raise fastapi.HTTPException(403)

    def broken(request: Request) -> PlainTextResponse:
        raise ValueError

    return Starlette(routes=[Route("/refused", refused), Route("/broken", broken)])


@pytest.mark.parametrize(("path", "status"), [("/refused", 403), ("/missing", 404), ("/broken", 500)])
def test_around_the_application_it_covers_every_error_page(path: str, status: int, key_pair: KeyPair) -> None:
    request = f"GET {path} HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n".encode()
    with running_uvicorn(TLSMiddleware(failing_app(), hosts=HOSTS), key_pair) as port:
        reply = raw_request(port, request, key_pair)
    assert (reply.status, len(reply.all("strict-transport-security"))) == (status, 1)


@pytest.mark.parametrize(
    ("path", "status", "covered"), [("/refused", 403, 1), ("/missing", 404, 1), ("/broken", 500, 0)]
)
def test_add_middleware_puts_it_inside_of_starlettes_page_for_crashes(
    path: str, status: int, covered: int, key_pair: KeyPair
) -> None:
    """A limit of Starlette's order, written down in docs/middleware.md: when this fails, the words there go."""
    app = failing_app()
    app.add_middleware(TLSMiddleware, hosts=HOSTS)
    request = f"GET {path} HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n".encode()
    with running_uvicorn(app, key_pair) as port:
        reply = raw_request(port, request, key_pair)
    assert (reply.status, len(reply.all("strict-transport-security"))) == (status, covered)
