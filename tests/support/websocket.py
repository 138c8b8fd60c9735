"""WebSockets, asked by the asyncio client: threads of the blocking one share a TLS socket, which hangs now and then."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import websockets.asyncio.client

PATIENCE = 20.0


@dataclass(frozen=True)
class Talk:
    """What the server sent first, and the fields of its response to the upgrade."""

    message: str
    headers: Any


def talk(url: str, *, send: str | None = None, **how: Any) -> Talk:
    """Connect, send a message if one is given, and take one. `how` is for the client of `websockets`: ssl, host, …"""

    async def scenario() -> Talk:
        async with websockets.asyncio.client.connect(url, open_timeout=PATIENCE, proxy=None, **how) as websocket:
            if send is not None:
                await websocket.send(send)
            message = await asyncio.wait_for(websocket.recv(), PATIENCE)
            assert websocket.response is not None
            return Talk(str(message), websocket.response.headers)

    return asyncio.run(scenario())
