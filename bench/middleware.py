"""The cost of the middleware per request, compared with an empty wrapper and with secure's own middleware.

    python bench/middleware.py [--requests N] [--rounds N]

Each candidate wraps the same application (one response with two headers, the second message its body) and is called as
a server calls it: a fresh scope, `receive` and `send`, over https, from a running event loop. `total` is the best
round's time per request, application included; `cost` is that time less the bare application's. The rounds take turns,
so that a machine that slows down affects all of them.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import TYPE_CHECKING, Any, cast

from secure import Secure
from secure.middleware import SecureASGIMiddleware
from starlette.middleware.base import BaseHTTPMiddleware

from asgi_tls.middleware import SecurityHeadersMiddleware, TLSMiddleware

if TYPE_CHECKING:
    from starlette.middleware.base import RequestResponseEndpoint
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

BARE, WRAPPER = "bare application", "wrapper that passes messages"
OURS, SECURE = "TLSMiddleware", "SecureASGIMiddleware"
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"2")]


async def application(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - the ASGI signature
    await send({"type": "http.response.start", "status": 200, "headers": list(HEADERS)})
    await send({"type": "http.response.body", "body": b"{}"})


class Wrapper:
    """The smallest middleware that looks at responses."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def pass_on(message: Message) -> None:
            await send(message)

        await self.app(scope, receive, pass_on)


class BaseHTTPWithSecure(BaseHTTPMiddleware):
    """The recipe of many tutorials."""

    secure = Secure.with_default_headers()

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        await self.secure.set_headers_async(response)
        return response


HOSTS = ["example.com", "*.example.com"]
WAYS: dict[str, ASGIApp] = {
    BARE: application,
    WRAPPER: Wrapper(application),
    "SecurityHeadersMiddleware": SecurityHeadersMiddleware(application),
    OURS: TLSMiddleware(application, hosts=HOSTS),
    "TLSMiddleware, nonces": TLSMiddleware(application, hosts=HOSTS, content="web"),
    SECURE: cast("Any", SecureASGIMiddleware(application, secure=Secure.with_default_headers())),
    "BaseHTTPMiddleware with secure": BaseHTTPWithSecure(application),
}
# Too slow for as many rounds as the others.
FEWER = {SECURE: 10, "BaseHTTPMiddleware with secure": 50}

SCOPE: Scope = {
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


async def one_round(app: ASGIApp, requests: int) -> float:
    """Seconds per request."""

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        pass

    started = time.perf_counter()
    for _ in range(requests):
        await app(dict(SCOPE), receive, send)
    return (time.perf_counter() - started) / requests


async def measure(requests: int, rounds: int) -> dict[str, float]:
    best = dict.fromkeys(WAYS, float("inf"))
    for _ in range(rounds):
        for name, app in WAYS.items():
            best[name] = min(best[name], await one_round(app, max(requests // FEWER.get(name, 1), 20)))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    run(options.requests, options.rounds)


def run(requests: int = 20_000, rounds: int = 9) -> None:
    """Print the table and the three ratios."""
    total = asyncio.run(measure(requests, rounds))
    cost = {name: total[name] - total[BARE] for name in WAYS}
    print(f"{'':32} {'total µs':>9} {'cost µs':>9} {'cost/wrapper':>13}")
    for name in WAYS:
        print(f"{name:32} {total[name] * 1e6:9.2f} {cost[name] * 1e6:9.2f} {cost[name] / cost[WRAPPER]:13.2f}")
    print()
    print(f"total, TLSMiddleware / wrapper:          {total[OURS] / total[WRAPPER]:5.2f}  (at most 2)")
    print(f"cost,  TLSMiddleware / wrapper:          {cost[OURS] / cost[WRAPPER]:5.2f}  (at most 2)")
    print(f"cost,  SecureASGIMiddleware / TLSMiddleware: {cost[SECURE] / cost[OURS]:5.2f}  (at least 8)")


if __name__ == "__main__":
    main()
