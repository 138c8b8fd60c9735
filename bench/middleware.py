"""What security headers cost for each request: TLSMiddleware beside other ways to set the same headers.

Each way gets the application as a server calls it: a fresh scope, `receive` and `send`, over https, from a running
event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from secure import Secure
from secure.middleware import SecureASGIMiddleware
from starlette.middleware.base import BaseHTTPMiddleware

from asgi_tls.middleware import SecurityHeadersMiddleware, TLSMiddleware
from bench.figures import Samples, turns
from bench.tables import Column, Measurement, Pace, Table

if TYPE_CHECKING:
    from starlette.middleware.base import RequestResponseEndpoint
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_BARE, _WRAPPER = "bare application", "wrapper that passes messages"
_SECURE, _RECIPE = "secure's SecureASGIMiddleware", "BaseHTTPMiddleware with secure"
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"2")]


async def _application(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - the ASGI signature
    await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
    await send({"type": "http.response.body", "body": b"{}"})


class _Wrapper:
    """The smallest middleware that looks at responses."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def pass_on(message: Message) -> None:
            await send(message)

        await self.app(scope, receive, pass_on)


class _BaseHTTPWithSecure(BaseHTTPMiddleware):
    """The recipe of many tutorials."""

    secure = Secure.with_default_headers()

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        await self.secure.set_headers_async(response)
        return response


_HOSTS = ["example.com", "*.example.com"]
_WAYS: dict[str, ASGIApp] = {
    _BARE: _application,
    _WRAPPER: _Wrapper(_application),
    "SecurityHeadersMiddleware": SecurityHeadersMiddleware(_application),
    "TLSMiddleware": TLSMiddleware(_application, hosts=_HOSTS),
    "TLSMiddleware, nonces": TLSMiddleware(_application, hosts=_HOSTS, content="web"),
    _SECURE: cast("Any", SecureASGIMiddleware(_application, secure=Secure.with_default_headers())),
    _RECIPE: _BaseHTTPWithSecure(_application),
}
# Too slow for as many requests as the others.
_FEWER = {_SECURE: 10, _RECIPE: 50}

_SCOPE: Scope = {
    "type": "http",
    "asgi": {"version": "3.0", "spec_version": "2.3"},
    "http_version": "1.1",
    "method": "GET",
    "scheme": "https",
    "path": "/items/1",
    "raw_path": b"/items/1",
    "root_path": "",
    "query_string": b"",
    "headers": [(b"host", b"example.com"), (b"accept", b"*/*"), (b"user-agent", b"bench")],
    "client": ("127.0.0.1", 40000),
    "server": ("127.0.0.1", 443),
}


async def _cost(app: ASGIApp, requests: int) -> float:
    """CPU seconds of each request."""

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        pass

    started = time.thread_time()
    for _ in range(requests):
        await app(dict(_SCOPE), receive, send)
    return (time.thread_time() - started) / requests


def _run(pace: Pace) -> Mapping[str, Samples]:
    requests, bare = 100 * pace.count, [0.0]

    def way(name: str) -> Callable[[], dict[str, float]]:
        def measured() -> dict[str, float]:
            total = asyncio.run(_cost(_WAYS[name], max(requests // _FEWER.get(name, 1), 20)))
            if name == _BARE:  # the first of each round
                bare[0] = total
                return {"total": total}
            return {"total": total, "cost": total - bare[0]}

        return measured

    ways = {name: way(name) for name in _WAYS}
    turns(ways, 1)  # warm up
    return {"middleware": turns(ways, 5 * pace.rounds)}


MIDDLEWARE = Measurement(
    "middleware",
    (
        Table(
            "middleware", "Middleware",
            "CPU of a request to an application that answers `{}`, called as a server calls it, without a server. The "
            "second column is what the middleware adds; its ratio is to a wrapper that passes each message on. "
            "[Its parts](internals.md#the-middleware) are measured one by one.",
            {
                "total": Column("request, µs", 2, factor=1e6, compared=False),
                "cost": Column("added, µs", 2, factor=1e6, plot="CPU that a middleware adds to a request, µs"),
            },
            first="middleware",
            bases={name: _WRAPPER for name in _WAYS if name not in {_BARE, _WRAPPER}},
        ),
    ),
    _run,
)  # fmt: skip
