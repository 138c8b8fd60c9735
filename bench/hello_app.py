"""The smallest application: two bytes, or a mebibyte; and the process that answers, in the header field Worker."""

from __future__ import annotations

import os
from typing import Any

_WORKER = (b"worker", b"%d" % os.getpid())
_BODIES = {"/mebibyte": bytes(1 << 20)}


async def app(scope: Any, _receive: Any, send: Any) -> None:
    """Answer 200. It has no lifespan; servers support that."""
    if scope["type"] != "http":
        raise RuntimeError("only HTTP here")
    body = _BODIES.get(scope["path"], b"ok")
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body)), _WORKER]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
