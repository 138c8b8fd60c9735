"""A FastAPI application that asks who the client is."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import httpx
import uvicorn
from fastapi import BackgroundTasks, Depends, FastAPI, Request, WebSocket
from fastapi.testclient import TestClient

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


@api.get("/elsewhere")
async def elsewhere() -> dict[str, Any]:
    """What anonymous callers are taken for by servers, tasks and calls that begin within this request."""
    answers: dict[str, Any] = {}

    async def ask(name: str, client: httpx.AsyncClient, url: str) -> None:
        async with client:
            answers[name] = (await client.get(url)).json()["subject"]

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    await ask("another listener", httpx.AsyncClient(trust_env=False), f"http://127.0.0.1:{port}/maybe")
    server.should_exit = True
    await serving

    inside = httpx.AsyncClient(transport=httpx.ASGITransport(app))
    await ask("a call in this process", inside, "https://localhost/maybe")
    later = httpx.AsyncClient(transport=httpx.ASGITransport(app))
    await asyncio.create_task(ask("a task", later, "https://localhost/maybe"))
    answers["a thread"] = await asyncio.to_thread(
        lambda: TestClient(app).get("https://localhost/maybe").json()["subject"]
    )
    return answers


@api.websocket("/ws")
async def socket(websocket: WebSocket, client: Client) -> None:
    await websocket.accept()
    await websocket.send_json({"subject": client.subject, "tls": websocket.scope["extensions"]["tls"]})
    await websocket.close()


@api.get("/deferred")
async def deferred(request: Request, tasks: BackgroundTasks) -> None:
    """Let a background task and a thread say later who this request came from."""
    tasks.add_task(_note, dict(request.scope))


async def _note(scope: dict[str, Any]) -> None:
    client = client_identity(scope), await asyncio.to_thread(client_identity, scope)
    await _noted.put([each and each.subject for each in client])


@api.get("/noted")
async def noted() -> list[Any]:
    """What those said."""
    return await _noted.get()


_noted: asyncio.Queue[list[Any]] = asyncio.Queue()
outer = FastAPI()
outer.mount("/below", api)
outer.mount("/", api)

app = ConnectionMiddleware(outer)
