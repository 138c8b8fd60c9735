"""A FastAPI application that asks who the client is."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request, WebSocket

from asgi_tls.middleware.connection import ConnectionMiddleware
from asgi_tls.middleware.identity import ClientIdentity, client_identity, require_client

api = FastAPI()

Anyone = Annotated[ClientIdentity, Depends(require_client())]
Client = Annotated[ClientIdentity, Depends(require_client(lambda client: "client.example" in client.dns_names))]


@api.get("/maybe")
def maybe(request: Request) -> dict[str, Any]:
    client = client_identity(request.scope)
    return {"subject": client and client.subject}


@api.get("/anyone")
def anyone(client: Anyone) -> dict[str, Any]:
    return {"subject": client.subject, "dns": client.dns_names, "fingerprint": client.fingerprint_sha256}


@api.get("/client")
def only(client: Client) -> dict[str, Any]:
    return {"common_name": client.common_name}


@api.websocket("/ws")
async def socket(websocket: WebSocket, client: Client) -> None:
    await websocket.accept()
    await websocket.send_json({"subject": client.subject, "tls": websocket.scope["extensions"]["tls"]})
    await websocket.close()


app = ConnectionMiddleware(api)
