"""The smallest application."""

from __future__ import annotations

from typing import Any

_HEADERS = [(b"content-type", b"text/plain"), (b"content-length", b"2")]


async def app(scope: Any, _receive: Any, send: Any) -> None:
    """Answer 200 with two bytes. It has no lifespan; servers support that."""
    if scope["type"] != "http":
        raise RuntimeError("only HTTP here")
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": b"ok"})
