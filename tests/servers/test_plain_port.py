"""`--tls-redirect-port`: the plain port beside the TLS port, in the same process."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest
from files import Files
from launch import Launch
from servers import Server, asgi_tls, await_port, run, serve

from asgi_tls import create_client_context

LAUNCHES = [
    Launch("uvicorn", "asyncio"),
    Launch("uvicorn", "uvloop", 2),
    Launch("hypercorn", "asyncio"),
    Launch("hypercorn", "uvloop", 2),
]


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for sock in sockets:
        sock.bind(("127.0.0.1", 0))
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports


def command(launch: Launch, files: Files, https: int, *options: str) -> list[str]:
    line, _ = launch.command(files.ecdsa, {})
    return [
        part.replace("--port=0", f"--port={https}").replace("127.0.0.1:0", f"127.0.0.1:{https}") for part in line
    ] + [*options]


@pytest.mark.parametrize("launch", LAUNCHES, ids=str)
def test_it_redirects_and_answers_challenges(files: Files, tmp_path: Path, launch: Launch) -> None:
    challenges = tmp_path / ".well-known" / "acme-challenge"
    challenges.mkdir(parents=True)
    (challenges / "token").write_text("token.thumbprint")
    https, plain = free_ports(2)
    options = [f"--tls-redirect-port={plain}", f"--tls-redirect-webroot={tmp_path}"]
    ready, count = launch.readiness()
    with serve(command(launch, files, https, *options), ready=ready, count=count) as server:
        await_port(plain)
        _check(server, files, https, plain)
        server.process.terminate()
        assert server.process.wait(10) in {0, -15}, server.text
    assert "Traceback" not in server.text
    assert "ERROR" not in server.text


def _check(server: Server, files: Files, https: int, plain: int) -> None:
    for _ in range(4):  # each worker answers
        with httpx.Client() as http:
            answer = http.get(f"http://localhost:{plain}/a%2Fb?q=1")
            assert (answer.status_code, answer.headers["cache-control"]) == (307, "no-store"), server.text
            assert answer.headers["location"] == f"https://localhost:{https}/a%2Fb?q=1"
            foreign = http.get(f"http://127.0.0.1:{plain}/", headers={"host": "evil.example"})
            assert foreign.status_code == 400
            challenge = http.get(f"http://localhost:{plain}/.well-known/acme-challenge/token")
            assert (challenge.status_code, challenge.text) == (200, "token.thumbprint")
    with httpx.Client(verify=create_client_context(cafile=files.ca), follow_redirects=True) as http:
        assert http.get(f"http://localhost:{plain}/").json()["protocol"] == "TLSv1.3"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--port=0", "--tls-redirect-port=8080"], "has to know the TLS port"),
        (["--port=8443", "--tls-redirect-port=http"], "the redirect port is 'http'"),
        (["--port=8443", "--tls-redirect-port=0"], "the redirect port is '0'"),
        (["--port=8443", "--tls-redirect-webroot=/tmp"], "without a redirect port"),
        (["--port=8443", "--tls-redirect-port=8080", "--tls-redirect-webroot=/nonexistent"], "is no directory"),
    ],
)
def test_a_plain_port_that_cannot_be(files: Files, options: Sequence[str], says: str) -> None:
    pair = [f"--ssl-certfile={files.ecdsa.certfile}", f"--ssl-keyfile={files.ecdsa.keyfile}"]
    status, text = run(asgi_tls("uvicorn", "facts_app:app", *pair, *options))
    assert status == 3
    assert says in text
    assert "Traceback" not in text


def test_a_plain_port_that_is_taken(files: Files) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        pair = [f"--ssl-certfile={files.ecdsa.certfile}", f"--ssl-keyfile={files.ecdsa.keyfile}"]
        status, text = run(asgi_tls("uvicorn", "facts_app:app", *pair, "--port=8443", f"--tls-redirect-port={port}"))
    assert status == 3
    assert f"cannot listen on 127.0.0.1 port {port}" in text


def test_servers_without_a_plain_port_say_so(files: Files) -> None:
    for launch in (Launch("gunicorn", "asgi"), Launch("gunicorn", "gthread")):
        line, env = launch.command(files.ecdsa, {"redirect_port": "8080"})
        status, text = run(line, env=env)
        assert status == 3
        assert "gunicorn cannot run the plain port" in text
