"""An ASGI application that tells its TLS connection as JSON, over HTTP and WebSocket; and a WSGI one.

Both tell the process that they run in, in the header field Worker.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterable
from typing import Any

from asgi_tls.middleware.connection import ConnectionMiddleware, tls_connection


async def _app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    if scope["type"] == "http" and scope["path"] == "/slow":
        await asyncio.sleep(float(scope["query_string"].decode() or "0.2"))
    text = json.dumps(_facts(scope))
    if scope["path"] == "/long":
        text = "x" * int(scope["query_string"] or 5_000_000)
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": text})
        await send({"type": "websocket.close"})
        return
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(text)).encode())]
    headers.append((b"worker", str(os.getpid()).encode()))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})


def _facts(scope: Any) -> dict[str, Any]:
    connection = tls_connection(scope)
    facts: dict[str, Any] = {"http": scope["http_version"], "scheme": scope["scheme"]}
    facts["extension"] = scope.get("extensions", {}).get("tls")
    if connection is not None:
        facts |= {
            "protocol": connection.protocol,
            "cipher": connection.cipher,
            "group": connection.group,
            "alpn": connection.alpn,
            "sni": connection.server_name,
            "resumed": connection.resumed,
        }
    return facts


async def _lifespan(receive: Any, send: Any) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


app = ConnectionMiddleware(_app)


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """For gunicorn's sync and threaded workers."""
    body = str(environ["wsgi.url_scheme"]).encode()
    length = ("Content-Length", str(len(body)))
    start_response("200 OK", [("Content-Type", "text/plain"), length, ("Worker", str(os.getpid()))])
    return [body]
