"""Client certificates: whom the application sees, and that no request ever sees another connection's client."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from files import Files
from launch import Launch
from servers import Server, serve
from websockets.sync.client import connect as websocket

from asgi_tls import PEMFiles
from asgi_tls.middleware.identity import client_identity

OTHERS = [Launch("uvicorn", "asyncio"), Launch("hypercorn", "uvloop"), Launch("gunicorn", "asgi")]
LAUNCHES = [
    Launch("uvicorn", "uvloop"),
    Launch("hypercorn", "asyncio"),
    *(pytest.param(each, marks=pytest.mark.system) for each in OTHERS),
]


@pytest.fixture(scope="module", params=LAUNCHES, ids=str)
def server(request: pytest.FixtureRequest, files: Files) -> Iterator[Server]:
    launch: Launch = request.param
    command, env = launch.command(files.ecdsa, {"client_ca": str(files.ca), "client_auth": "optional"})
    command = ["identity_app:app" if argument == "facts_app:app" else argument for argument in command]
    ready, count = launch.readiness()
    with serve(command, env=env, ready=ready, count=count) as running:
        yield running


def context(files: Files, pair: PEMFiles | None) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=str(files.ca))
    if pair is not None:
        made.load_cert_chain(str(pair.certfile), str(pair.keyfile))
    return made


def get(server: Server, files: Files, path: str, pair: PEMFiles | None) -> httpx.Response:
    with httpx.Client(verify=context(files, pair)) as client:
        return client.get(f"https://localhost:{server.port}{path}")


def test_without_a_certificate(server: Server, files: Files) -> None:
    assert get(server, files, "/maybe", None).json() == {"subject": None}
    for path in ("/anyone", "/client"):
        answer = get(server, files, path, None)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "ClientCertificate"


def test_with_a_certificate(server: Server, files: Files) -> None:
    answer = get(server, files, "/anyone", files.client)
    expected = files.client.load("client")
    assert answer.json()["fingerprint"] == expected.fingerprint_sha256
    assert answer.json()["dns"] == ["client.example"]
    assert answer.json()["subject"] == expected.subject
    assert get(server, files, "/client", files.client).status_code == 200
    assert get(server, files, "/client", files.nameless_client).status_code == 403
    assert get(server, files, "/maybe", files.nameless_client).json()["subject"] == "CN=Alice"


def test_over_a_websocket(server: Server, files: Files) -> None:
    url = f"wss://localhost:{server.port}/ws"
    with websocket(url, ssl=context(files, files.client)) as connection:
        said = json.loads(connection.recv(timeout=10))
    assert said["tls"]["client_cert_name"] == said["subject"]
    assert said["tls"]["tls_version"] == 0x0304
    assert len(said["tls"]["client_cert_chain"]) >= 1
    # By hand: the client of `websockets` trips over an answer whose body comes a moment later.
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
               "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}  # fmt: skip
    for pair, status in ((None, {401, 403}), (files.nameless_client, {403})):
        with httpx.Client(verify=context(files, pair)) as client:
            assert client.get(f"https://localhost:{server.port}/ws", headers=upgrade).status_code in status


def test_no_request_sees_the_client_of_another_connection(server: Server, files: Files, tmp_path: Any) -> None:
    """Many connections at once, of several clients and of none, each with several requests."""
    names = [f"client-{number}.example" for number in range(4)]
    usage = (ExtendedKeyUsageOID.CLIENT_AUTH,)
    pairs = {name: PEMFiles(*files.pki.leaf(name, eku=usage).write(tmp_path / name)) for name in names}

    async def ask(name: str | None) -> None:
        made = context(files, None if name is None else pairs[name])
        expected = None if name is None else pairs[name].load("client").subject
        async with httpx.AsyncClient(verify=made) as client:
            for _ in range(5):
                answer = await client.get(f"https://localhost:{server.port}/maybe")
                assert answer.json()["subject"] == expected
                await asyncio.sleep(0)

    async def everybody() -> None:
        await asyncio.gather(*(ask(name) for name in [*names, None] * 6))

    asyncio.run(everybody())


def test_both_shapes_of_the_extension_are_read(files: Files) -> None:
    pem = Path(files.client.certfile).read_text(encoding="ascii")
    certificates = [f"{part}-----END CERTIFICATE-----\n" for part in pem.split("-----END CERTIFICATE-----\n")[:-1]]
    for chain in (certificates, iter(certificates), pem):
        scope = {"type": "http", "extensions": {"tls": {"client_cert_chain": chain}}}
        identity = client_identity(scope)
        assert identity is not None
        assert identity.dns_names == ("client.example",)
    extensions: tuple[dict[str, Any], ...] = (
        {},
        {"client_cert_chain": []},
        {"client_cert_chain": certificates, "client_cert_error": "expired"},
    )
    for extension in extensions:
        assert client_identity({"type": "http", "extensions": {"tls": extension}}) is None


def test_a_unix_socket_has_no_address(files: Files, tmp_path: Any) -> None:
    path = tmp_path / "server.sock"
    command = [sys.executable, "-P", "-m", "asgi_tls", "uvicorn", "facts_app:app", f"--uds={path}", "--tls-log-json",
               f"--ssl-certfile={files.ecdsa.certfile}", f"--ssl-keyfile={files.ecdsa.keyfile}"]  # fmt: skip
    with serve(command, ready="Uvicorn running on unix socket") as running, socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(10)
        raw.connect(str(path))
        with context(files, None).wrap_socket(raw, server_hostname="localhost") as secure:
            secure.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert secure.recv(65536).startswith(b"HTTP/1.1 200")
        from wire import events

        (event,) = [each for each in events(running, count=3) if each["event"] == "tls_session"]
        assert (event["ip"], event["port"]) == (None, None)
