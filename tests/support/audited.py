"""Servers for the audit: good ones, and the same with one thing wrong."""

from __future__ import annotations

import contextlib
import http.server
import os
import re
import socket
import ssl
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pki import PKI, Pair
from ports import free_port
from servers import await_port, serve

from asgi_tls.audit.probes.target import parse_target
from asgi_tls.audit.report.report import Report, audit
from asgi_tls.profile import TLSProfile

HEADERS: Mapping[str, str] = {
    "Strict-Transport-Security": "max-age=63072000; includeSubDomains",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

# Under 5 s on loopback is what is promised, and an idle machine takes 0.1 to 0.3; this leaves room for a loaded one.
LIMIT = 20.0

MODERN_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


REPLY = "".join(
    ("HTTP/1.1 200 OK\r\n", *(f"{name}: {value}\r\n" for name, value in HEADERS.items()), "Content-Length: 0\r\n\r\n")
).encode()


@dataclass(frozen=True)
class Plain:
    """What the port of plain HTTP answers. `location` may hold `{port}`, that of HTTPS."""

    status: int = 308
    location: str | None = "https://localhost:{port}/"
    headers: Mapping[str, str] = field(default_factory=dict)


@contextlib.contextmanager
def plain_http(https_port: int, plain: Plain) -> Iterator[int]:
    """Serve plain HTTP on a free port of 127.0.0.1, which is the value."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(plain.status)
            if plain.location is not None:
                self.send_header("Location", plain.location.format(port=https_port))
            for name, value in plain.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- its name
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join(5)


@contextlib.contextmanager
def s_server(
    directory: Path,
    pair: Pair,
    *options: str,
    ciphers: str = MODERN_CIPHERS,
    headers: Mapping[str, str] = HEADERS,
) -> Iterator[int]:
    """OpenSSL's test server, which answers `/index`."""
    certfile, keyfile = pair.write(directory)
    lines = ["HTTP/1.0 200 OK", *(f"{name}: {value}" for name, value in headers.items()), "", "ok"]
    (directory / "index").write_bytes("\r\n".join(lines).encode("ascii"))
    command = [
        "openssl", "s_server", "-accept", "127.0.0.1:0", "-HTTP", "-cert", str(certfile), "-key", str(keyfile),
        "-cert_chain", str(certfile), "-cipher", ciphers, "-groups", "X25519:P-256:P-384", "-alpn", "http/1.1",
        *options,
    ]  # fmt: skip
    if len(pair.issuers):
        (directory / "issuers.pem").write_bytes(pair.chain_pem.replace(pair.cert_pem, b""))
        command[command.index("-cert_chain") + 1] = str(directory / "issuers.pem")
    else:
        at = command.index("-cert_chain")
        del command[at : at + 2]
    with serve(command, ready="^ACCEPT", cwd=directory) as server:
        found = re.search(r"^ACCEPT \S+:(\d+)", server.text, re.MULTILINE)
        assert found is not None, server.text
        yield int(found[1])


NGINX = """
daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log {directory}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off; server_tokens off;
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
  server {{
    listen 127.0.0.1:{port} ssl {listen}; server_name localhost;
    ssl_certificate {certfile}; ssl_certificate_key {keyfile};
    ssl_protocols TLSv1.2 TLSv1.3; ssl_ecdh_curve X25519:prime256v1:secp384r1;
    ssl_ciphers ECDHE+AESGCM:ECDHE+CHACHA20;
    {headers}
    {more}
  }}
}}
"""


@contextlib.contextmanager
def nginx(
    directory: Path,
    pair: Pair,
    *,
    headers: Sequence[tuple[str, str]] = tuple(HEADERS.items()),
    more: str = 'location / { return 200 "ok"; }',
    listen: str = "",
) -> Iterator[int]:
    certfile, keyfile = pair.write(directory)
    port = free_port()
    lines = "\n".join(f'add_header {name} "{value}" always;' for name, value in headers)
    path = directory / "nginx.conf"
    path.write_text(
        NGINX.format(
            directory=directory, port=port, certfile=certfile, keyfile=keyfile, headers=lines, more=more, listen=listen
        ),
        encoding="utf-8",
    )
    command = ["nginx", "-c", str(path), "-e", "stderr"]
    environment = {"PATH": f"{os.environ['PATH']}:/usr/sbin"}
    with serve(
        [*command, "-g", "error_log stderr notice;"], ready="start worker process", cwd=directory, env=environment
    ):
        await_port(port)
        yield port


@contextlib.contextmanager
def python_server(
    pair: Any,
    change: Callable[[ssl.SSLContext], object] = lambda _context: None,
    *,
    reply: Callable[[], Iterable[bytes]] = lambda: (REPLY,),
    family: int = socket.AF_INET,
) -> Iterator[int]:
    """A server on Python's own ssl, which answers each request with the pieces that `reply` makes.

    Without `pair`, it has no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if pair is not None:
        context.load_cert_chain(pair.certfile, pair.keyfile)
    context.set_ciphers(MODERN_CIPHERS)
    context.set_ecdh_curve("prime256v1")
    change(context)

    def one(plain: socket.socket) -> None:
        with plain, contextlib.suppress(OSError):
            plain.settimeout(5)
            with context.wrap_socket(plain, server_side=True) as secure:
                if secure.recv(4096):
                    for piece in reply():
                        secure.sendall(piece)
                    secure.recv(4096)

    with listening(one, family=family) as port:
        yield port


@contextlib.contextmanager
def listening(serve_one: Callable[[socket.socket], None], *, family: int = socket.AF_INET) -> Iterator[int]:
    """Call `serve_one` with each connection, in a thread of its own."""
    with socket.socket(family) as server:
        server.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        server.listen(50)
        server.settimeout(0.05)
        ending = threading.Event()
        workers: list[threading.Thread] = []

        def run() -> None:
            while not ending.is_set():
                with contextlib.suppress(TimeoutError):
                    plain = server.accept()[0]
                    workers.append(threading.Thread(target=serve_one, args=(plain,), daemon=True))
                    workers[-1].start()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            ending.set()
            for each in (thread, *workers):
                each.join(10)


def by_tlslite(
    certfile: Path,
    keyfile: Path,
    *,
    after: Callable[[Any, Any], object] = lambda _connection, _settings: None,
    **settings: Any,
) -> Callable[[socket.socket], None]:
    """Serve one connection by tlslite-ng, which has what OpenSSL has given up.

    `after` a handshake, it can be made to misbehave.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it imports asyncore
        from tlslite.api import HandshakeSettings, TLSConnection, X509CertChain, parsePEMKey
        from tlslite.errors import TLSError
    chain, key = X509CertChain(), parsePEMKey(keyfile.read_text(), private=True)
    chain.parsePemList(certfile.read_text())
    wanted = HandshakeSettings()
    for name, value in settings.items():
        setattr(wanted, name, value)

    def one(plain: socket.socket) -> None:
        with plain, contextlib.suppress(OSError, TLSError):
            plain.settimeout(5)
            connection = TLSConnection(plain)
            connection.handshakeServer(certChain=chain, privateKey=key, settings=wanted, alpn=[bytearray(b"http/1.1")])
            after(connection, wanted)
            connection.read(max=1, min=1)

    return one


def examine(
    port: int,
    pki: PKI | None,
    directory: Path,
    *,
    plain: Plain | None = None,
    path: str = "/",
    host: str = "localhost",
    profile: TLSProfile | None = None,
    trust_matters: bool = True,
) -> Report:
    """Audit the server on this port of 127.0.0.1, beside a port of plain HTTP."""
    cafile = None
    if pki is not None:
        cafile = directory / "audit-ca.pem"
        cafile.write_bytes(pki.root_pem)
    with plain_http(port, plain or Plain()) as http_port:
        # A loaded machine may be slow to answer; no test waits for this.
        target = parse_target(
            f"https://{host}:{port}{path}", connect=f"127.0.0.1:{port}", http_port=http_port, timeout=20
        )
        report = audit(target, cafile=cafile, profile=profile, trust_matters=trust_matters)
    assert report.seen.seconds < LIMIT
    return report


def ids(report: Report) -> set[str]:
    """The findings above info."""
    return {finding.id for finding in report.findings if finding.kind.severity != "info"}
