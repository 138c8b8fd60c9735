"""The table of docs/comparison.md, cell by cell: what each program does with the same files and the same clients."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pki import PKI
from ports import free_port
from servers import Server, asgi_tls, await_port, run, serve

pytestmark = pytest.mark.system

PAGE = Path(__file__).parents[2] / "docs/comparison.md"

APP = """
from asgi_tls.middleware.connection import ConnectionMiddleware

@ConnectionMiddleware
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    told = b"told" if (scope.get("extensions") or {}).get("tls") else b"not told"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(told))]})
    await send({"type": "http.response.body", "body": told})
"""

NGINX = """
daemon off; pid nginx.pid; error_log stderr;
events {{ }}
http {{
    access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {certfile}; {key} return 200 "-"; }}
}}
"""

CADDY = """
{{
    admin unix/{admin}
    auto_https disable_redirects
}}
https://localhost:{port} {{
    bind 127.0.0.1
    tls {certfile} {keyfile}
    respond "-"
}}
"""


@dataclass
class Site:
    """The files that all of them serve, and a place for their own."""

    directory: Path
    pki: PKI = field(default_factory=lambda: PKI("Comparison"))

    def __post_init__(self) -> None:
        (self.directory / "app.py").write_text(APP, encoding="utf-8")
        self.renew()
        (self.directory / "other.pem").write_bytes(self.pki.leaf("localhost").key_pem)

    def renew(self) -> None:
        pair = self.pki.leaf("localhost", "127.0.0.1")
        pair.write(self.directory)
        (self.directory / "cert.pem").write_bytes(pair.cert_pem)


def python_server(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]


def of_asgi_tls(site: Site, port: int, certfile: str, keyfile: str) -> list[str]:
    key = ["--ssl-keyfile", keyfile] if keyfile else []
    return asgi_tls(
        "uvicorn", "app:app", f"--app-dir={site.directory}", f"--port={port}", "--ssl-certfile", certfile, *key
    )


def of_uvicorn(_: Site, port: int, certfile: str, keyfile: str) -> list[str]:
    key = ["--ssl-keyfile", keyfile] if keyfile else []
    return python_server("uvicorn", "app:app", f"--port={port}", "--ssl-certfile", certfile, *key)


def of_hypercorn(_: Site, port: int, certfile: str, keyfile: str) -> list[str]:
    key = ["--keyfile", keyfile] if keyfile else []
    return python_server("hypercorn", "app:app", f"--bind=127.0.0.1:{port}", "--certfile", certfile, *key)


def of_gunicorn(_: Site, port: int, certfile: str, keyfile: str) -> list[str]:
    key = ["--keyfile", keyfile] if keyfile else []
    return python_server("gunicorn", "-k", "asgi", f"--bind=127.0.0.1:{port}", "--certfile", certfile, *key, "app:app")


def of_granian(_: Site, port: int, certfile: str, keyfile: str) -> list[str]:
    key = ["--ssl-keyfile", keyfile] if keyfile else []
    own = ["--interface", "asgi", "--port", str(port), "--ssl-certificate", certfile, *key]
    return [str(Path(sys.executable).parent / "granian"), *own, "app:app"]


def of_nginx(site: Site, port: int, certfile: str, keyfile: str) -> list[str]:
    own = site.directory / f"nginx-{port}"
    own.mkdir()
    key = f"ssl_certificate_key {site.directory / keyfile};" if keyfile else ""
    text = NGINX.format(port=port, certfile=site.directory / certfile, key=key)
    (own / "nginx.conf").write_text(text, encoding="ascii")
    return ["nginx", "-p", str(own), "-e", "stderr", "-c", str(own / "nginx.conf")]


def of_caddy(site: Site, port: int, certfile: str, keyfile: str) -> list[str]:
    path = site.directory / f"Caddyfile-{port}"
    admin = site.directory / f"{port}.socket"
    text = CADDY.format(port=port, admin=admin, certfile=site.directory / certfile, keyfile=site.directory / keyfile)
    path.write_text(text, encoding="ascii")
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(path)]


PROGRAMS: dict[str, Callable[[Site, int, str, str], list[str]]] = {
    "asgi-tls uvicorn": of_asgi_tls,
    "uvicorn": of_uvicorn,
    "hypercorn": of_hypercorn,
    "gunicorn": of_gunicorn,
    "granian": of_granian,
    "nginx": of_nginx,
    "caddy": of_caddy,
}


@contextlib.contextmanager
def started(site: Site, command: list[str], port: int) -> Iterator[Server | None]:
    """The server when it takes connections; None when it ended instead, or never took any."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    with contextlib.ExitStack() as stack:
        try:
            line = ["sh", "-c", f"echo started; exec {shlex.join(command)}"]
            env = {"PATH": path, "HOME": str(site.directory)}
            server = stack.enter_context(serve(line, ready="started", cwd=site.directory, env=env))
            deadline = time.monotonic() + 10
            while True:
                try:
                    await_port(port, 0.1)
                    break
                except OSError:
                    if server.process.poll() is not None or time.monotonic() > deadline:
                        raise AssertionError("it takes no connection") from None
        except AssertionError:
            yield None
            return
        yield server


def context(site: Site, **how: object) -> ssl.SSLContext:
    made = ssl.create_default_context(cadata=site.pki.root_pem.decode())
    for name, value in how.items():
        setattr(made, name, value)
    return made


def over_tls(site: Site, port: int) -> tuple[bytes, bytes]:
    """The certificate (DER) and the answer to a request. Raises OSError."""
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port), timeout=60) as raw,
        trusting.wrap_socket(raw, server_hostname="localhost") as secure,
    ):
        secure.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = b""
        while chunk := secure.recv(4096):
            answer += chunk
        return secure.getpeercert(binary_form=True) or b"", answer


def as_plain_http(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as raw:
        raw.sendall(f"GET / HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        with contextlib.suppress(OSError):
            while chunk := raw.recv(4096):
                answer += chunk
        return answer


def refused_client(site: Site, port: int) -> str:
    """What a client gets that shares no suite with the server."""
    old = context(site, maximum_version=ssl.TLSVersion.TLSv1_2)
    old.set_ciphers("AES128-SHA256")
    with socket.create_connection(("127.0.0.1", port), timeout=60) as raw:
        try:
            old.wrap_socket(raw, server_hostname="localhost")
        except ssl.SSLError as error:
            return "an alert" if "ALERT" in str(error.reason) else "silence"
        except OSError:
            return "silence"
    return "a connection"


def plain_client(port: int) -> str:
    answer = as_plain_http(port)
    if b"Location: https://" in answer or b"location: https://" in answer:
        return "a redirect to https"
    found = re.match(rb"HTTP/1.[01] (\d+)", answer)
    return f"status {found[1].decode()}" if found else "silence"


def at_start(site: Site, make: Callable[..., list[str]], certfile: str, keyfile: str) -> str:
    port = free_port()
    with started(site, make(site, port, certfile, keyfile), port) as server:
        if server is None:
            return "refused"
        try:
            over_tls(site, port)
        except OSError:
            return "serves plain HTTP" if as_plain_http(port).startswith(b"HTTP/1.1 200") else "refused"
        return "served"


def observe(name: str, directory: Path) -> dict[str, str]:
    """Every row of the table for one program."""
    site, make = Site(directory), PROGRAMS[name]
    port = free_port()
    found: dict[str, str] = {}
    with started(site, make(site, port, "fullchain.pem", "privkey.pem"), port) as server:
        assert server is not None
        first, answer = over_tls(site, port)
        found["The application learns about its TLS connection (ASGI `tls`)"] = (
            "-" if name in {"nginx", "caddy"} else "no" if b"not told" in answer else "yes"
        )
        before = len(server.text)
        found["A client without a common suite gets"] = refused_client(site, port)
        found["and is in the log by default, with the address"] = "yes" if logs_a_client(server, port, before) else "no"
        found["Plain HTTP on the TLS port gets"] = plain_client(port)
        site.renew()
        found["New files are served"] = renewal(
            site, port, first, lambda: (caddy_reload if name == "caddy" else hang_up)(site, port, server)
        )
    found["`cert.pem`, without its intermediate, is"] = at_start(site, make, "cert.pem", "privkey.pem")
    found["The key of another certificate is"] = at_start(site, make, "fullchain.pem", "other.pem")
    if name != "caddy":  # its configuration has no way to say that
        found["A certificate without its key is"] = at_start(site, make, "fullchain.pem", "")
    else:
        found["A certificate without its key is"] = "-"
    return found


def logs_a_client(server: Server, port: int, before: int) -> bool:
    """Whether it logs, within 5 s, an address that is not its own, on a line that is not about a request."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        lines = [line for line in server.text[before:].splitlines() if "GET /" not in line]
        if any(re.search(rf"127\.0\.0\.1(?!:{port}\b)", line) for line in lines):
            return True
        time.sleep(0.05)
    return False


def hang_up(_: Site, _port: int, server: Server) -> str:
    server.process.send_signal(signal.SIGHUP)
    return "after SIGHUP"


def caddy_reload(site: Site, port: int, _: Server) -> str:
    """Its configuration has not changed, so it must be forced."""
    own = ["--adapter", "caddyfile", "--config", f"{site.directory}/Caddyfile-{port}"]
    address = f"unix/{site.directory}/{port}.socket"
    status, text = run(["caddy", "reload", "--force", "--address", address, *own], env={"HOME": str(site.directory)})
    assert status == 0, text
    return "after `caddy reload`"


def renewal(site: Site, port: int, first: bytes, ask: Callable[[], str]) -> str:
    """What it takes until a new connection gets another certificate than the first."""

    def changed(seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if over_tls(site, port)[0] != first:
                    return True
            time.sleep(0.2)
        return False

    if changed(8):  # seconds: longer than it takes where the files are looked at every five
        return "within seconds"
    way = ask()
    return way if changed(8) else "after a restart"


def table() -> dict[str, dict[str, str]]:
    """The page's table: program, row, cell."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.read_text(encoding="utf-8").splitlines()
        if line.startswith("|")
    ]
    (_, *programs), _, *body = rows
    return {name: {row[0]: row[1 + number] for row in body} for number, name in enumerate(programs)}


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """All of them at once: most of it is waiting."""
    with ThreadPoolExecutor(len(PROGRAMS)) as pool:
        running = {name: pool.submit(observe, name, tmp_path_factory.mktemp("site")) for name in PROGRAMS}
        return {name: each.result() for name, each in running.items()}


def test_the_page_reports_what_each_of_them_does(observed: dict[str, dict[str, str]]) -> None:
    assert table() == observed
