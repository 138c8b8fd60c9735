"""WebSockets, HTTP/2, HTTP/3, reloading, and the ways to start that need no command of ours."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import sys
import textwrap
from pathlib import Path
from typing import IO, Any

import httpx
import pytest
from aioquic.asyncio import QuicConnectionProtocol
from aioquic.asyncio.client import connect as quic_connect
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, H3Event
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import QuicEvent
from cryptography import x509
from files import Files
from handshakes import client, connect
from in_process import here
from launch import Launch
from patience import PATIENCE
from ports import free_port
from returning import Crowd
from servers import asgi_tls, serve
from websocket import talk
from wire import events

from asgi_tls import _openssl, create_client_context


def options(files: Files) -> list[str]:
    return [f"--ssl-certfile={files.ecdsa.certfile}", f"--ssl-keyfile={files.ecdsa.keyfile}"]


RESET = ["--reset-contextvars"]
UVICORN = [
    # Each HTTP protocol with each loop and with contextvars kept and reset, and with each WebSocket protocol.
    ("h11", "asyncio", [], "websockets"),
    ("h11", "uvloop", [], "websockets-sansio"),
    ("h11", "asyncio", RESET, "wsproto"),
    ("h11", "uvloop", RESET, "websockets"),
    ("httptools", "asyncio", [], "websockets-sansio"),
    ("httptools", "uvloop", [], "wsproto"),
    ("httptools", "asyncio", RESET, "websockets"),
    ("httptools", "uvloop", RESET, "websockets-sansio"),
    # What is left of all combinations of protocols.
    pytest.param("h11", "uvloop", [], "wsproto", marks=pytest.mark.system),
    pytest.param("httptools", "asyncio", [], "websockets", marks=pytest.mark.system),
    pytest.param("httptools", "uvloop", RESET, "wsproto", marks=pytest.mark.system),
]


@pytest.mark.parametrize(("http", "loop", "contextvars", "ws"), UVICORN)
def test_websockets_and_every_request_know_their_connection_under_uvicorn(
    files: Files, http: str, loop: str, contextvars: list[str], ws: str
) -> None:
    own = ["--port=0", f"--http={http}", f"--loop={loop}", f"--ws={ws}", *contextvars]
    with serve(asgi_tls("uvicorn", "facts_app:app", *own, *options(files)), ready="Uvicorn running on") as server:
        assert _websocket_facts(files, server.port)["protocol"] == "TLSv1.3"
        # And HTTP on another connection is not mixed up with it.
        assert connect(server.port, client(maximum=ssl.TLSVersion.TLSv1_2)).facts["protocol"] == "TLSv1.2"
        _every_request_knows(files, server.port)


def _websocket_facts(files: Files, port: int) -> dict[str, Any]:
    context = create_client_context(cafile=files.ca)

    facts: dict[str, Any] = json.loads(talk(f"wss://localhost:{port}/", ssl=context).message)
    assert facts["scheme"] == "wss"
    assert facts["extension"]["tls_version"] == 0x0304
    return facts


def _every_request_knows(files: Files, port: int) -> None:
    """Also those that were sent ahead, and those that come after the server had stopped reading."""
    context = create_client_context(cafile=files.ca)
    get = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    body = bytes(1 << 20)  # nobody reads it
    post = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=60) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as secure,
        secure.makefile("rb") as answers,
    ):
        for requests in (get, get + get + get, post + body, get, post + body, get + get):
            secure.sendall(requests)
            for _ in range(requests.count(b" HTTP/1.1")):
                assert read_facts(answers)["protocol"] == "TLSv1.3"


def read_facts(answers: IO[bytes]) -> dict[str, Any]:
    assert answers.readline() == b"HTTP/1.1 200 OK\r\n"
    fields = {}
    while line := answers.readline().strip():
        name, _, value = line.partition(b": ")
        fields[name.lower()] = value
    facts: dict[str, Any] = json.loads(answers.read(int(fields[b"content-length"])))
    return facts


@pytest.mark.parametrize("contextvars", [[], ["--reset-contextvars"]])
def test_http_2_under_uvicorn_with_zttp(files: Files, contextvars: list[str]) -> None:
    own = ["--port=0", "--http=zttp", "--http2", *contextvars]
    command = asgi_tls("uvicorn", "facts_app:app", *own, *options(files))
    with serve(command, ready="Uvicorn running on") as server:
        assert _facts_over_http_2(files, server.port) == ("2", "h2")


def _facts_over_http_2(files: Files, port: int) -> tuple[str, str]:
    with httpx.Client(verify=create_client_context(cafile=files.ca), http2=True, http1=False) as http:
        facts = http.get(f"https://localhost:{port}/").json()
    return facts["http"], facts["alpn"]


class _H3Client(QuicConnectionProtocol):
    """One GET over HTTP/3."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.h3 = H3Connection(self._quic)
        self.body = b""
        self.done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def quic_event_received(self, event: QuicEvent) -> None:
        for each in self.h3.handle_event(event):
            self._on_h3(each)

    def _on_h3(self, event: H3Event) -> None:
        if isinstance(event, DataReceived):
            self.body += event.data
            if event.stream_ended:
                self.done.set_result(self.body)

    async def get(self) -> dict[str, Any]:
        stream = self._quic.get_next_available_stream_id()
        head = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"localhost"), (b":path", b"/")]
        self.h3.send_headers(stream, head, end_stream=True)
        self.transmit()
        facts: dict[str, Any] = json.loads(await asyncio.wait_for(self.done, 10))
        return facts


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_http_3_2_1_and_websockets_under_hypercorn(files: Files, loop: str) -> None:
    port = free_port(socket.SOCK_DGRAM)
    command = asgi_tls(
        "hypercorn", "facts_app:app", "--bind=127.0.0.1:0", f"--quic-bind=127.0.0.1:{port}",
        f"--certfile={files.ecdsa.certfile}", f"--keyfile={files.ecdsa.keyfile}", f"--worker-class={loop}",
        "--graceful-timeout=0", "--tls-log-json", "--workers=0",
    )  # fmt: skip

    async def ask() -> dict[str, Any]:
        configuration = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, server_name="localhost")
        configuration.load_verify_locations(cadata=files.ca.read_bytes())
        async with quic_connect("127.0.0.1", port, configuration=configuration, create_protocol=_H3Client) as protocol:
            assert isinstance(protocol, _H3Client)
            return await protocol.get()

    with serve(command, ready=r"\(QUIC\)") as server:
        facts = asyncio.run(asyncio.wait_for(ask(), PATIENCE))
        assert (facts["http"], facts["protocol"], facts["alpn"]) == ("3", "TLSv1.3", "h3")
        assert facts["cipher"] == "TLS_AES_256_GCM_SHA384"
        leaf = x509.load_pem_x509_certificate(Path(files.ecdsa.certfile).read_bytes())
        assert x509.load_pem_x509_certificate(facts["extension"]["server_cert"].encode()) == leaf
        assert (facts["extension"]["tls_version"], facts["extension"]["cipher_suite"]) == (0x0304, 0x1302)
        (event,) = events(server, name="tls_session")
        assert (event["ip"], event["alpn"], event["cipher"]) == ("127.0.0.1", "h3", facts["cipher"])
        assert 0 < event["duration_ms"] < 10_000
        over_tcp = connect(server.port, client()).facts
        best = "X25519MLKEM768" if "X25519MLKEM768" in _openssl.supported_groups() else "X25519"
        assert (over_tcp["http"], over_tcp["group"]) == ("1.1", best)
        assert _facts_over_http_2(files, server.port) == ("2", "h2")
        assert _websocket_facts(files, server.port)["protocol"] == "TLSv1.3"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (["--tls-groups=P-384"], "and profile intermediate allows less"),
        (["--tls-ciphersuites=TLS_AES_256_GCM_SHA384"], "and profile intermediate allows less"),
        (["--tls-client-ca={ca}"], "cannot ask for client certificates"),
    ],
)
def test_http_3_is_refused_where_it_could_not_keep_the_policy(files: Files, settings: list[str], says: str) -> None:
    status, text = here(
        asgi_tls(
            "hypercorn", "facts_app:app", "--bind=127.0.0.1:0", "--quic-bind=127.0.0.1:0",
            f"--certfile={files.ecdsa.certfile}", f"--keyfile={files.ecdsa.keyfile}",
            *(setting.format(ca=files.ca) for setting in settings),
        )
    )  # fmt: skip
    assert status == 3
    assert says in text
    assert "Traceback" not in text


def test_plain_hypercorn_and_gunicorn_read_the_environment(files: Files) -> None:
    env = {
        "ASGI_TLS_CERTFILE": str(files.ecdsa.certfile),
        "ASGI_TLS_KEYFILE": str(files.ecdsa.keyfile),
        "ASGI_TLS_PROFILE": "modern",
        "ASGI_TLS_GROUPS": "P-384",
    }
    for name, style, more, ready, workers in (
        # hypercorn may have set up its logging by then, or not: events come in a thread of their own.
        ("hypercorn", ("INFO: ", "["), ["--workers=2"], "Running on https", 2),
        ("gunicorn", ("[",), ["-k", "asgi"], "ASGI server listening", 1),
    ):
        command = [sys.executable, "-m", name, "-c", f"python:asgi_tls.servers.{name}", "--bind=127.0.0.1:0"]
        with serve([*command, *more, "facts_app:app"], ready=ready, count=workers, env=env) as server:
            result = connect(server.port, client(ca=files.ca_text))
            assert (result.protocol, result.group) == ("TLSv1.3", "P-384")
            with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
                connect(server.port, client(maximum=ssl.TLSVersion.TLSv1_2))
            # What the workers resume, each other's sessions too, their parent made.
            crowd = Crowd(16, ssl.TLSVersion.TLSv1_3)
            assert crowd.visit(server.port).resumed == 0
            crowd.all_resume(server, workers=workers)
            # And our lines come out in the server's style.
            found = [line for line in server.text.splitlines() if "serving " in line]
            assert len(found) == workers, server.text
            assert all(line.startswith(style) for line in found), found


def test_without_a_certificate_every_server_makes_one_for_development_and_says_so(tmp_path: Path) -> None:
    for launch in (Launch("uvicorn", "asyncio"), Launch("hypercorn", "asyncio", 0), Launch("gunicorn", "asgi")):
        command = launch.command(None, {})
        ready, count = launch.readiness()
        with serve(command, ready=ready, count=count, env={"ASGI_TLS_HOME": str(tmp_path)}) as server:
            ca = (tmp_path / "ca" / "ca.pem").read_text(encoding="ascii")
            assert connect(server.port, client(ca=ca)).protocol == "TLSv1.3"
            assert "served for localhost, 127.0.0.1, ::1, as no certificate is set" in server.text
            assert str(tmp_path / "ca" / "ca.pem") in server.text


def test_uvicorns_reloader_serves_the_same_policy(files: Files, tmp_path: Path) -> None:
    app = tmp_path / "reloaded.py"
    app.write_text("from facts_app import app\n")
    command = asgi_tls(
        "uvicorn", "reloaded:app", "--port=0", "--reload", "--tls-profile=modern", *options(files),
        f"--reload-dir={tmp_path}", f"--app-dir={tmp_path}",
    )  # fmt: skip
    support = str(Path(__file__).parents[1] / "support")
    with serve(command, ready="Application startup complete", cwd=tmp_path, env={"PYTHONPATH": support}) as server:
        with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
            connect(server.port, client(maximum=ssl.TLSVersion.TLSv1_2))
        assert connect(server.port, client(ca=files.ca_text)).facts["protocol"] == "TLSv1.3"


SCRIPT = """
    import sys, {module}
    from asgi_tls import MODERN, PEMFiles, ServerTLS

    if __name__ == "__main__":
        tls = ServerTLS(PEMFiles(*sys.argv[1:3]), profile=MODERN)
        {start}
"""


@pytest.mark.parametrize(
    ("module", "start", "ready", "count"),
    [
        ("uvicorn", 'uvicorn.run("facts_app:app", port=0, **tls.uvicorn_kwargs())', "Uvicorn running on", 1),
        (
            "uvicorn",
            'uvicorn.run("facts_app:app", port=0, workers=2, **tls.uvicorn_kwargs())',
            "Application startup complete",
            2,
        ),
        (
            "hypercorn.run",
            'hypercorn.run.run(tls.hypercorn_config(bind="127.0.0.1:0", application_path="facts_app:app"))',
            "Running on https",
            1,
        ),
    ],
)
def test_three_lines_of_python(files: Files, tmp_path: Path, module: str, start: str, ready: str, count: int) -> None:
    script = tmp_path / "start.py"
    script.write_text(textwrap.dedent(SCRIPT.format(module=module, start=start)))
    command = [sys.executable, str(script), str(files.ecdsa.certfile), str(files.ecdsa.keyfile)]
    support = str(Path(__file__).parents[1] / "support")
    with serve(command, ready=ready, count=count, env={"PYTHONPATH": support}) as server:
        assert connect(server.port, client(ca=files.ca_text)).facts["protocol"] == "TLSv1.3"
        with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
            connect(server.port, client(maximum=ssl.TLSVersion.TLSv1_2))


def test_gunicorn_speaks_tls_with_the_hook_alone(files: Files, tmp_path: Path) -> None:
    """gunicorn on its own would serve plain HTTP here: it asks for a certfile, and the hook comes second."""
    configuration = tmp_path / "gunicorn.conf.py"
    configuration.write_text(
        "from asgi_tls import MODERN, PEMFiles, ServerTLS\n"
        f"tls = ServerTLS(PEMFiles({str(files.ecdsa.certfile)!r}, {str(files.ecdsa.keyfile)!r}), profile=MODERN)\n"
        "ssl_context = tls.gunicorn_ssl_context\n"
    )
    for kind, ready in (("asgi", "ASGI server listening"), ("gthread", "Booting worker")):
        app = "facts_app:app" if kind == "asgi" else "facts_app:wsgi"
        command = [sys.executable, "-m", "gunicorn", "-c", str(configuration), "-k", kind, "-b", "127.0.0.1:0", app]
        with serve(command, ready=ready) as server:
            assert connect(server.port, client(ca=files.ca_text)).protocol == "TLSv1.3"
            assert httpx.get(f"http://127.0.0.1:{server.port}/").status_code == 307


def test_names_and_two_kinds_of_keys_from_the_command_line(files: Files) -> None:
    extra = [
        f"--tls-certificate=default={files.rsa.certfile},{files.rsa.keyfile}",
        f"--tls-certificate=www.example.com={files.example.certfile},{files.example.keyfile}",
    ]
    command = asgi_tls("uvicorn", "facts_app:app", "--port=0", *options(files), *extra)
    with serve(command, ready="Uvicorn running on") as server:
        for cipher, source in (("ECDHE-ECDSA", files.ecdsa), ("ECDHE-RSA", files.rsa)):
            peer = client(ca=files.ca_text, maximum=ssl.TLSVersion.TLSv1_2, ciphers=f"{cipher}-AES128-GCM-SHA256")
            assert connect(server.port, peer).certificate == source.load().leaf_der
        peer = client(ca=files.ca_text)
        assert connect(server.port, peer, server_name="www.example.com").certificate == files.example.load().leaf_der


def test_client_certificates_from_the_command_line(files: Files) -> None:
    command = asgi_tls("uvicorn", "facts_app:app", "--port=0", *options(files), f"--tls-client-ca={files.ca}")
    with serve(command, ready="Uvicorn running on") as server:
        context = create_client_context(cafile=files.ca, certificate=files.client)
        result = connect(server.port, context)
        assert result.facts["extension"]["client_cert_name"] == "CN=client.example"
        assert len(result.facts["extension"]["client_cert_chain"]) >= 2
        with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
            connect(server.port, create_client_context(cafile=files.ca))
