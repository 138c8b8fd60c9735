"""A short complete response, sent instead of the application's, to HTTP and WebSocket requests alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

# hypercorn's ProxyFixMiddleware writes "https" for a WebSocket, where ASGI says "wss".
SECURE_SCHEMES = frozenset({"https", "wss"})
# WebSocket close code for a policy violation (RFC 6455 section 7.4.1). Before the handshake is accepted, servers turn
# any close into status 403.
_POLICY_VIOLATION = 1008


def is_secure(scope: Scope) -> bool:
    """Whether the server says that the request came over TLS. A missing or unknown scheme means no."""
    scheme = scope.get("scheme")
    return scheme in SECURE_SCHEMES or (isinstance(scheme, str) and scheme.lower() in SECURE_SCHEMES)


@dataclass(frozen=True, slots=True)
class Answer:
    """An ASGI application that always sends the same response.

    A WebSocket handshake gets it as a denial response where the server has that extension; otherwise it is closed.
    """

    status: int
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""

    @classmethod
    def text(cls, status: int, message: str) -> Answer:
        return cls(status, ((b"content-type", b"text/plain; charset=utf-8"),), message.encode() + b"\n")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - the ASGI signature
        prefix = ""
        if scope["type"] == "websocket":
            if "websocket.http.response" not in (scope.get("extensions") or {}):
                await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": ""})
                return
            prefix = "websocket."
        headers = [*self.headers, (b"content-length", b"%d" % len(self.body))]
        body = b"" if scope.get("method") == "HEAD" else self.body
        await send({"type": f"{prefix}http.response.start", "status": self.status, "headers": headers})
        await send({"type": f"{prefix}http.response.body", "body": body})
