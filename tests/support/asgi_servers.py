"""Run an ASGI application: under a real server in a thread of its own, or called directly with a scope."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import hashlib
import ipaddress
import socket
import ssl
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import hypercorn.asyncio
import hypercorn.config
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.types import ASGIApp, Message, Scope

# Whose pages FastAPI's documentation loads from.
CDN_NAMES = ["cdn.jsdelivr.net", "fastapi.tiangolo.com", "fonts.googleapis.com", "fonts.gstatic.com", "cdn.redoc.ly"]
NAMES = ["localhost", "example.com", "www.example.com", "site.test", *CDN_NAMES]
PATIENCE = 15.0


@dataclass(frozen=True)
class KeyPair:
    certificate: Path
    key: Path

    def public_key_hash(self) -> str:
        """As Chromium's --ignore-certificate-errors-spki-list wants it."""
        key = x509.load_pem_x509_certificate(self.certificate.read_bytes()).public_key()
        info = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(hashlib.sha256(info).digest()).decode()

    def client_context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.certificate))


def make_key_pair(directory: Path) -> KeyPair:
    """A self-signed certificate for NAMES and the loopback addresses."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "middleware tests")])
    now = datetime.datetime.now(datetime.UTC)
    addresses = [x509.IPAddress(ipaddress.ip_address(each)) for each in ("127.0.0.1", "::1")]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([*map(x509.DNSName, NAMES), *addresses]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pair = KeyPair(directory / "cert.pem", directory / "key.pem")
    pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pair.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return pair


def listening_socket() -> socket.socket:
    """It accepts connections from now on: whoever connects before the server is up waits in the backlog."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    sock.listen(100)
    return sock


@contextlib.contextmanager
def running_uvicorn(app: ASGIApp, pair: KeyPair | None = None, **settings: Any) -> Iterator[int]:
    """Serve on a free port of 127.0.0.1, which is the value; `settings` are uvicorn's."""
    sock = listening_socket()
    config = uvicorn.Config(
        app,
        log_config=None,
        ws=settings.pop("ws", "wsproto"),
        ssl_certfile=None if pair is None else pair.certificate,
        ssl_keyfile=None if pair is None else pair.key,
        timeout_graceful_shutdown=1,
        **settings,
    )
    server = uvicorn.Server(config)
    with _in_thread(lambda: server.serve(sockets=[sock]), stop=lambda: setattr(server, "should_exit", True)):
        yield sock.getsockname()[1]


@contextlib.contextmanager
def running_hypercorn(app: ASGIApp, pair: KeyPair | None = None, **settings: Any) -> Iterator[int]:
    """Serve on a free port of 127.0.0.1, which is the value; `settings` are attributes of hypercorn's Config."""
    sock = listening_socket()
    port = sock.getsockname()[1]
    config = hypercorn.config.Config()
    config.bind = [f"fd://{sock.detach()}"]
    config.graceful_timeout = 1
    if pair is not None:
        config.certfile, config.keyfile = str(pair.certificate), str(pair.key)
    for name, value in settings.items():
        setattr(config, name, value)
    stopping = threading.Event()

    async def stop() -> None:
        await asyncio.get_running_loop().run_in_executor(None, stopping.wait)

    with _in_thread(
        lambda: hypercorn.asyncio.serve(app, config, shutdown_trigger=stop),  # type: ignore[arg-type]
        stop=stopping.set,
    ):
        yield port


@contextlib.contextmanager
def _in_thread(serve: Any, stop: Any) -> Iterator[None]:
    failures: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as failure:  # noqa: BLE001 - raised again in the caller's thread
            failures.append(failure)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop()
        thread.join(PATIENCE)
    if failures:
        raise failures[0]
    if thread.is_alive():
        raise TimeoutError("the server did not stop")


@dataclass
class Reply:
    """What came back: the status, the header fields in their order, the body."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""
    messages: list[Message] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def __getitem__(self, name: str) -> str:
        (value,) = self.all(name)
        return value

    def __contains__(self, name: str) -> bool:
        return bool(self.all(name))


def raw_request(port: int, request: bytes, pair: KeyPair | None = None) -> Reply:
    """Send bytes as they are, and read the first response up to the end of the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as plain:
        sock = plain if pair is None else pair.client_context().wrap_socket(plain, server_hostname="localhost")
        with sock:
            sock.sendall(request)
            received = bytearray()
            # A server that aborts the connection after its answer has still answered.
            with contextlib.suppress(ConnectionResetError):
                while data := sock.recv(65536):
                    received += data
    head, _, body = bytes(received).partition(b"\r\n\r\n")
    status_line, *lines = head.split(b"\r\n")
    fields = [line.decode("latin-1").split(":", 1) for line in lines]
    return Reply(int(status_line.split()[1]), [(name, value.strip()) for name, value in fields], body)


def http_scope(**changes: Any) -> Scope:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"example.com")],
        "client": ("127.0.0.1", 40000),
        "server": ("127.0.0.1", 80),
        "extensions": {},
        **changes,
    }


def websocket_scope(**changes: Any) -> Scope:
    scope = http_scope(type="websocket", scheme="ws", subprotocols=[])
    del scope["method"]
    return {**scope, "extensions": {"websocket.http.response": {}}, **changes}


def call(app: ASGIApp, scope: Scope) -> Reply:
    """Call the application as a server would, and collect what it sends."""
    messages: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        messages.append(message)

    asyncio.run(app(scope, receive, send))  # type: ignore[arg-type]
    starts = [each for each in messages if each["type"].endswith("response.start")]
    start: dict[str, Any] = dict(starts[-1]) if starts else {"status": 0, "headers": []}
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in start["headers"]]
    body = b"".join(each.get("body", b"") for each in messages)
    return Reply(start["status"], headers, body, messages)


async def hello(scope: Scope, receive: Any, send: Any) -> None:
    """An application that answers everything: HTTP with a line of text, a WebSocket by accepting and closing."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "hello"})
        await send({"type": "websocket.close"})
    else:
        headers = [(b"content-type", b"text/plain"), (b"content-length", b"6")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"hello\n"})
