"""A proxy that passes TCP on: TLS ends in the application, and its clients have the proxy's address."""

from __future__ import annotations

import contextlib
import json
import os
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from files import Files
from proxies import PATH, two_ports
from servers import asgi_tls, await_port, serve

pytestmark = pytest.mark.system

# As in docs/proxies.md.
CONFIGURATION = """
defaults
    timeout connect 5s
    timeout client 20s
    timeout server 20s
frontend tcp
    mode tcp
    bind 127.0.0.1:{port}
    default_backend application
backend application
    mode tcp
    server application 127.0.0.1:{upstream}
"""


@contextlib.contextmanager
def haproxy(directory: Path, upstream: int) -> Iterator[int]:
    port, _ = two_ports()
    path = directory / "haproxy.cfg"
    path.write_text(CONFIGURATION.format(port=port, upstream=upstream), encoding="utf-8")
    process = subprocess.Popen(["haproxy", "-db", "-f", str(path)], env={**os.environ, "PATH": PATH})
    try:
        await_port(port, 20)
        yield port
    finally:
        process.terminate()
        process.wait(60)


def test_the_profile_is_the_applications_and_the_address_the_proxys(files: Files, tmp_path: Path) -> None:
    pair = [f"--ssl-certfile={files.ecdsa.certfile}", f"--ssl-keyfile={files.ecdsa.keyfile}"]
    command = asgi_tls("uvicorn", "behind_app:guarded", "--port=0", "--no-proxy-headers", "--tls-profile=modern", *pair)
    lie = {"X-Forwarded-For": "192.0.2.66", "X-Forwarded-Proto": "http"}
    with (
        serve([*command, "--tls-log-json"], ready="Uvicorn running on") as server,
        haproxy(tmp_path, server.port) as port,
    ):
        transport = httpx.HTTPTransport(
            verify=ssl.create_default_context(cafile=str(files.ca)), local_address="127.0.0.2"
        )
        with httpx.Client(transport=transport, trust_env=False) as http:
            seen = http.get(f"https://localhost:{port}/", headers=lie).json()
    assert (seen["scheme"], seen["client"]) == ("https", "127.0.0.1")
    sessions = [json.loads(line) for line in server.log if '"tls_session"' in line]
    assert [(each["ip"], each["protocol"]) for each in sessions] == [("127.0.0.1", "TLSv1.3")]
