"""An application to stand behind a proxy: it tells what reached it, and sends the headers that the path asks for."""

from __future__ import annotations

import json
from typing import Any

from hypercorn.middleware import ProxyFixMiddleware

from asgi_tls.middleware import TLSMiddleware

# What the application sends of its own, by path.
FIELDS: dict[str, list[tuple[bytes, bytes]]] = {
    "/own": [(b"strict-transport-security", b"max-age=5"), (b"x-frame-options", b"SAMEORIGIN")],
    "/twice": [(b"strict-transport-security", b"max-age=5"), (b"strict-transport-security", b"max-age=6")],
    "/.well-known/acme-challenge/token": [(b"strict-transport-security", b"max-age=5")],
}


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    seen = {
        "scheme": scope["scheme"],
        "client": scope["client"] and scope["client"][0],
        "path": scope["path"],
        "headers": [[name.decode("latin-1").lower(), value.decode("latin-1")] for name, value in scope["headers"]],
    }
    text = json.dumps(seen)
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": f"{message['text']} {text}"})
        return
    length = [(b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": length + FIELDS.get(scope["path"], [])})
    await send({"type": "http.response.body", "body": text.encode()})


guarded = TLSMiddleware(app, hosts=["localhost"])
canonical = TLSMiddleware(app, hosts=["example.com"], canonical_host="example.com")
proxied = ProxyFixMiddleware(guarded)  # type: ignore[arg-type]
