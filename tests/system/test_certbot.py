"""certbot itself against pebble, Let's Encrypt's test server: the first certificate, and a renewal under a stream."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from patience import until
from pebble import Pebble, pebble
from servers import asgi_tls, run, serve

pytestmark = pytest.mark.system

NAME = "reload.example.test"

REDIRECT = """
from asgi_tls.middleware import redirect_app
app = redirect_app(hosts=[{name!r}], webroot={webroot!r})
"""

# One line after the other, until a file appears.
STREAM = """
import asyncio, pathlib
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({{"type": message["type"] + ".complete"}})
            if message["type"] == "lifespan.shutdown":
                return
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    number = 0
    while not pathlib.Path({stop!r}).exists():
        await send({{"type": "http.response.body", "body": b"%d\\n" % number, "more_body": True}})
        number += 1
        await asyncio.sleep(0.01)
    await send({{"type": "http.response.body", "body": b"end %d\\n" % number}})
"""


@dataclass
class Certbot:
    """certbot's directories, and the CA that it uses."""

    home: Path
    ca: Pebble

    def run(self, *arguments: str) -> str:
        places = [f"--{name}-dir={self.home / 'certbot' / name}" for name in ("config", "work", "logs")]
        command = ["certbot", *arguments, "--non-interactive", "--server", self.ca.url, *places]
        status, text = run(command, env={"REQUESTS_CA_BUNDLE": str(self.ca.ca_file)})
        assert status == 0, text
        return text

    @property
    def live(self) -> Path:
        return self.home / "certbot" / "config" / "live" / NAME


@pytest.fixture
def certbot(tmp_path: Path) -> Iterator[Certbot]:
    with pebble(tmp_path) as ca:
        yield Certbot(tmp_path, ca)


def connect(port: int) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # pebble makes a new root at each start
    raw = socket.create_connection(("127.0.0.1", port), timeout=60)
    secure = context.wrap_socket(raw, server_hostname=NAME)
    secure.sendall(f"GET / HTTP/1.1\r\nHost: {NAME}:{port}\r\n\r\n".encode())
    return secure


def serial(secure: ssl.SSLSocket) -> int:
    certificate = secure.getpeercert(binary_form=True)
    assert certificate is not None
    return x509.load_der_x509_certificate(certificate).serial_number


def serial_on_disk(path: Path) -> int:
    return x509.load_pem_x509_certificate(path.read_bytes()).serial_number


def read_stream(secure: ssl.SSLSocket, into: list[bytes]) -> None:
    while not b"".join(into[-3:]).endswith(b"0\r\n\r\n") and (chunk := secure.recv(65536)):
        into.append(chunk)


def test_first_certificate_and_renewal(certbot: Certbot, tmp_path: Path) -> None:
    webroot, stop, pid_file = tmp_path / "webroot", tmp_path / "stop", tmp_path / "server.pid"
    webroot.mkdir()
    (tmp_path / "plain_port.py").write_text(REDIRECT.format(name=NAME, webroot=str(webroot)))
    (tmp_path / "stream.py").write_text(STREAM.format(stop=str(stop)))
    hook = tmp_path / "hook.sh"
    status, text = run(asgi_tls("deploy-hook", f"--pid-file={pid_file}", f"--output={hook}"))
    assert status == 0, text

    # There is no certificate yet: the redirect listener stands alone.
    plain = ["uvicorn", "plain_port:app", "--port", str(certbot.ca.http_port)]
    with serve([asgi_tls()[0], "-m", *plain], ready="Uvicorn running on", cwd=tmp_path):
        certbot.run(
            "certonly", "--webroot", f"--webroot-path={webroot}", f"--domain={NAME}", "--agree-tos",
            "--register-unsafely-without-email", f"--deploy-hook={hook}",
        )  # fmt: skip
    first = serial_on_disk(certbot.live / "fullchain.pem")

    command = asgi_tls(
        "uvicorn", "stream:app", f"--port={certbot.ca.tls_port}", "--workers=2", "--app-dir=.",
        f"--ssl-certfile={certbot.live / 'fullchain.pem'}", f"--ssl-keyfile={certbot.live / 'privkey.pem'}",
        f"--tls-redirect-port={certbot.ca.http_port}", f"--tls-redirect-webroot={webroot}", "--tls-reload-interval=600",
    )  # fmt: skip
    with serve(command, ready="Application startup complete", count=2, cwd=tmp_path) as server:
        pid_file.write_text(str(server.process.pid))
        streaming = connect(certbot.ca.tls_port)
        assert serial(streaming) == first
        received: list[bytes] = []
        reader = threading.Thread(target=read_stream, args=(streaming, received))
        reader.start()
        said = certbot.run("renew", "--force-renewal", "--no-random-sleep-on-renew")
        second = serial_on_disk(certbot.live / "fullchain.pem")
        assert second != first

        def renewed() -> bool:
            with connect(certbot.ca.tls_port) as other:
                return serial(other) == second

        until(renewed, server, patience=2.0)
        assert "SIGHUP: reloading the certificates of 2 workers" in server.text, said + server.text
        before = len(b"".join(received))
        until(lambda: len(b"".join(received)) > before, server)
        stop.touch()
        reader.join(10)
        streaming.close()
    lines = [line for line in b"".join(received).partition(b"\r\n\r\n")[2].split(b"\r\n")[1::2] if line]
    numbers = [int(line) for line in lines if not line.startswith(b"end")]
    assert numbers == list(range(len(numbers)))
    assert lines[-1] == b"end %d\n" % len(numbers)
    assert len(numbers) > 50
