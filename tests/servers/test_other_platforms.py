"""macOS and Windows, simulated: everything starts, serves and renews, and says what is missing."""

from __future__ import annotations

import json
import ssl
import sys
import time
from pathlib import Path

import pytest
from files import Files
from handshakes import client, connect
from other_platforms import environment
from patience import PATIENCE, until
from servers import Server, asgi_tls, run, serve

PLATFORMS = ["macos", "windows"]
UVICORN = ["uvicorn", "facts_app:app", "--host=127.0.0.1", "--port=0", "--loop=asyncio"]
SERVED = {
    "uvicorn": (UVICORN, "Uvicorn running on", 1),
    "uvicorn-2": ([*UVICORN, "--workers=2"], "Application startup complete|Uvicorn running on", 3),
    "hypercorn": (["hypercorn", "facts_app:app", "--bind=127.0.0.1:0"], "Running on https", 1),
}  # fmt: skip


# One process is what is promised on Windows.
@pytest.mark.parametrize(
    ("how", "platform"),
    [
        ("uvicorn", "macos"),
        ("uvicorn-2", "macos"),
        ("hypercorn", "macos"),
        ("uvicorn", "windows"),
        ("hypercorn", "windows"),
    ],
)
def test_a_server_serves_answers_failures_and_renews(files: Files, tmp_path: Path, platform: str, how: str) -> None:
    first, second = (files.pki.leaf("localhost", "127.0.0.1") for _ in range(2))
    certfile, keyfile = first.write(tmp_path / "served")
    command, ready, count = SERVED[how]
    prefix = "--ssl-" if command[0] == "uvicorn" else "--"
    own = [f"{prefix}certfile={certfile}", f"{prefix}keyfile={keyfile}", "--tls-reload-interval=0.2"]
    own += ["--tls-log-json", "--tls-profile=modern"]
    env = environment(tmp_path, platform)
    with serve(asgi_tls(*command, *own), ready=ready, count=count, env=env) as server:
        assert connect(server.port, client()).certificate == first.der
        with pytest.raises(ssl.SSLError, match="alert protocol version"):
            connect(server.port, client(maximum=ssl.TLSVersion.TLSv1_2))
        second.write(tmp_path / "served")
        until(lambda: connect(server.port, client()).certificate == second.der, server)
        failed = _events(server, "tls_client_error")
        assert failed
        if platform == "windows":
            assert "(event-loop)" in server.text or '"code": "event-loop"' in server.text
            assert {each["ip"] for each in failed} == {None}
        else:
            assert {each["ip"] for each in failed} == {"127.0.0.1"}
        assert "Traceback" not in server.text


def _events(server: Server, name: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    deadline = time.monotonic() + PATIENCE
    while not found:
        lines = [line[line.index("{") :] for line in server.text.splitlines() if '"event"' in line]
        found = [event for event in map(json.loads, lines) if event["event"] == name]
        assert time.monotonic() < deadline, server.text
        time.sleep(0.05)
    return found


COMMANDS = [
    (["doctor"], 0, "OpenSSL"),
    (["cert", "localhost", "127.0.0.1"], 0, "localhost"),
    (["ca", "path"], 0, "ca.pem"),
    (["explain", "CERTIFICATE_VERIFY_FAILED"], 0, "verif"),
    (["flags", "uvicorn"], 0, "--ssl"),
    (["export", "nginx", "--host", "example.com"], 0, "ssl_protocols"),
]
ON_WINDOWS = [*COMMANDS, (["gunicorn", "facts_app:app"], 3, "gunicorn does not run on Windows")]
RUN_ALL = """
import json, sys
from click.testing import CliRunner
from asgi_tls.cli import main
ended = [CliRunner().invoke(main, command) for command in json.loads(sys.argv[1])]
print(json.dumps([(each.exit_code, each.output, repr(each.exception)) for each in ended]))
"""


@pytest.mark.parametrize(("platform", "commands"), [("macos", COMMANDS), ("windows", ON_WINDOWS)])
def test_commands(tmp_path: Path, platform: str, commands: list[tuple[list[str], int, str]]) -> None:
    """In one process, one after the other."""
    script = [sys.executable, "-c", RUN_ALL, json.dumps([arguments for arguments, _, _ in commands])]
    status, text = run(script, env=environment(tmp_path, platform))
    assert status == 0, text
    for (arguments, wanted, words), (ended, output, exception) in zip(commands, json.loads(text), strict=True):
        assert ended == wanted, (arguments, output, exception)
        assert words in output
        assert "Traceback" not in output


MIDDLEWARE = """
import asyncio, sys
from pathlib import Path
from asgi_tls import TLSMiddleware

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"app"})

async def get(path, scheme="http"):
    sent = []
    async def send(message): sent.append(message)
    scope = {"type": "http", "method": "GET", "scheme": scheme, "path": path, "raw_path": path.encode(),
             "query_string": b"", "http_version": "1.1", "headers": [(b"host", b"example.com")]}
    await wrapped(scope, None, send)
    return sent[0]["status"], sent[1]["body"]

webroot = Path(sys.argv[1])
challenges = webroot / ".well-known/acme-challenge"
challenges.mkdir(parents=True)
(challenges / "token").write_text("token.print")
(webroot / "secret").write_text("secret")
(challenges / "link").symlink_to(webroot / "secret")
wrapped = TLSMiddleware(app, hosts=["example.com"], webroot=webroot)
for path in ("/", "/.well-known/acme-challenge/token", "/.well-known/acme-challenge/link"):
    print(path, *asyncio.run(get(path)))
print("secure", *asyncio.run(get("/", "https")))
"""


@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_middleware(tmp_path: Path, platform: str) -> None:
    status, text = run([sys.executable, "-c", MIDDLEWARE, str(tmp_path / "web")], env=environment(tmp_path, platform))
    assert status == 0, text
    assert text.splitlines() == [
        "/ 308 b''",
        "/.well-known/acme-challenge/token 200 b'token.print'",
        "/.well-known/acme-challenge/link 404 b'Not Found\\n'",
        "secure 200 b'app'",
    ]
