"""The cases of Starlette's tests for its HTTPSRedirectMiddleware, with our answer beside Starlette's.

Where the two differ, the table says both, and docs/middleware.md says why.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.httpsredirect import HTTPSRedirectMiddleware as Theirs
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from asgi_tls.middleware import HTTPSRedirectMiddleware as Ours


def homepage(request: Any) -> PlainTextResponse:
    return PlainTextResponse("OK", status_code=200)


def get(middleware: Middleware, base_url: str, path: str, headers: Any = None) -> httpx.Response:
    app = Starlette(routes=[Route("/{path:path}", homepage)], middleware=[middleware])

    async def once() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=base_url) as client:
            return await client.get(path, headers=headers)

    return asyncio.run(once())


THEIRS = Middleware(Theirs)
# Starlette trusts any host, and answers 307.
OURS = Middleware(Ours, hosts=["*"], redirect_status=307)


@pytest.mark.parametrize("path", ["/", "/a/b", "/a%20b", "/a?b=c&d=%20", "/%C3%BC"])
@pytest.mark.parametrize(
    "base_url", ["https://testserver", "http://testserver", "http://testserver:80", "http://testserver:443"]
)
def test_the_same(base_url: str, path: str) -> None:
    answers = []
    for middleware in (THEIRS, OURS):
        response = get(middleware, base_url, path)
        answers.append((response.status_code, response.headers.get("location"), response.content))
    assert answers[0] == answers[1]


DIFFERENCES = [
    # An http port is hardly where https listens: https_port and port_map say where.
    ("http://testserver:123", "/", {}, "https://testserver:123/", "https://testserver/"),
    # The bytes of the path stay as they are.
    ("http://testserver", "/a%2Fb", {}, "https://testserver/a/b", "https://testserver/a%2Fb"),
    # A host that is not on the list leads nowhere.
    ("http://testserver", "/", {"Host": "evil.example"}, "https://evil.example/", None),
]


@pytest.mark.parametrize(("base_url", "path", "headers", "theirs", "ours"), DIFFERENCES)
def test_the_differences(base_url: str, path: str, headers: Any, theirs: str, ours: str | None) -> None:
    listed = Middleware(Ours, hosts=["testserver"], redirect_status=307)
    for middleware, expected in ((THEIRS, theirs), (listed, ours)):
        response = get(middleware, base_url, path, headers)
        assert response.headers.get("location") == expected
