"""How many of 200 returning clients resume their session at a server with 4 workers: ours, and plain servers."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from bench.load import certificate, serving

CLIENTS, WORKERS, AT_ONCE = 200, 4, 8
VERSIONS = {"TLS 1.3": ssl.TLSVersion.TLSv1_3, "TLS 1.2": ssl.TLSVersion.TLSv1_2}

_REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def run() -> None:
    """Print a line for each server. The aim is 99 % for ours."""
    with certificate() as (ca, certfile, keyfile):
        for name, command in servers(certfile, keyfile).items():
            with serving(*command) as server:
                shares = {version: resumed(server.port, ca, number) for version, number in VERSIONS.items()}
            print(f"{name}: " + ", ".join(f"{share:.0%} resume with {version}" for version, share in shares.items()))


def servers(certfile: str, keyfile: str) -> Mapping[str, list[str]]:
    """The command lines, for `python`."""
    app, workers = "hello_app:app", str(WORKERS)
    uvicorn = ["uvicorn", app, "--port", "{port}", "--workers", workers, "--no-access-log", "--log-level", "warning"]
    uvicorn += ["--ssl-certfile", certfile, "--ssl-keyfile", keyfile]
    hypercorn = ["hypercorn", app, "--bind", "127.0.0.1:{port}", "--workers", workers]
    hypercorn += ["--certfile", certfile, "--keyfile", keyfile]
    granian = ["granian", "--interface", "asgi", "--port", "{port}", "--workers", workers, "--no-access-log"]
    granian += ["--ssl-certificate", certfile, "--ssl-keyfile", keyfile, "--ssl-protocol-min", "tls1.2", app]
    return {
        "plain uvicorn": ["-m", *uvicorn],
        "plain hypercorn": ["-m", *hypercorn],
        "granian": ["-m", *granian],
        "asgi-tls uvicorn": ["-m", "asgi_tls", *uvicorn],
        "asgi-tls hypercorn": ["-m", "asgi_tls", *hypercorn],
    }


def resumed(port: int, ca: str, version: ssl.TLSVersion) -> float:
    """The share of clients that resume, of those that come back."""

    def come_back(_: int) -> bool:
        context = ssl.create_default_context(cafile=ca)
        context.minimum_version = context.maximum_version = version
        session: ssl.SSLSession | None = None
        for _ in range(2):
            with (
                socket.create_connection(("127.0.0.1", port), timeout=60) as raw,
                context.wrap_socket(raw, server_hostname="localhost", session=session) as secure,
            ):
                secure.sendall(_REQUEST)
                while secure.recv(65536):
                    pass
                session, again = secure.session, bool(secure.session_reused)
        return again

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return sum(pool.map(come_back, range(CLIENTS))) / CLIENTS
