"""Renewal on every server: however the files are replaced, and with SIGHUP, all workers soon serve the new pair."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import ssl
import tempfile
import time
from pathlib import Path

import pytest
from files import Files
from handshakes import client, connect
from launch import Launch, split
from patience import PATIENCE, until
from pki import Pair
from renewals import WAYS, Site, renamed, without_events
from servers import APP_DIRECTORY, Server, serve

from asgi_tls.explain import explain
from asgi_tls.renewal.state import GRACE

INTERVAL = 0.4

SERVED: list[Launch] = [
    *(Launch("uvicorn", loop, workers) for loop in ("asyncio", "uvloop") for workers in (1, 2, 4)),
    *(Launch("hypercorn", loop, workers) for loop in ("asyncio", "uvloop") for workers in (1, 2, 4)),
    Launch("gunicorn", "asgi", 2),
    Launch("gunicorn", "gthread"),
    Launch("gunicorn", "sync"),
]

QUICK = {"uvicorn-uvloop-2", "hypercorn-asyncio-2", "gunicorn-asgi-2"}


def served(launch: Launch, server: Server) -> bytes:
    alpn = ["h2"] if launch.server == "hypercorn" and time.monotonic_ns() % 2 else ["http/1.1"]
    return connect(server.port, client(alpn=alpn), path=None).certificate


def all_serve(launch: Launch, server: Server, pair: Pair) -> bool:
    """Each worker says in its log what it serves, and clients see it."""
    until = pair.certificate.not_valid_after_utc.strftime("until %Y-%m-%dT%H:%M:%S")
    return server.text.count(until) >= launch.workers and all(served(launch, server) == pair.der for _ in range(3))


def wait_until_all_serve(launch: Launch, server: Server, pair: Pair) -> None:
    """With an interval of ten minutes, only a signal or an event of the file system can be the reason."""
    until(lambda: all_serve(launch, server, pair), server)


@pytest.mark.parametrize("launch", split(SERVED, QUICK), ids=str)
def test_every_way_to_replace_the_files(files: Files, tmp_path: Path, launch: Launch) -> None:
    site = Site(files.pki, tmp_path)
    with launch.start(site.source, {"reload_interval": str(INTERVAL)}) as server:
        for way in WAYS:
            pair, said, began = site.next_pair(), server.text, time.monotonic()
            way(site, pair)
            took = time.monotonic() - began
            wait_until_all_serve(launch, server, pair)
            # On a busy machine the files of one way may be away for so long that it is reported, and rightly.
            assert took >= GRACE or "kept the old certificate" not in server.text.removeprefix(said)
        assert "Traceback" not in server.text


IN_PLACE = [launch for launch in SERVED if launch.server != "gunicorn"]


@pytest.mark.parametrize("launch", split(IN_PLACE, QUICK), ids=str)
def test_sighup_reloads_at_once_and_in_place(files: Files, tmp_path: Path, launch: Launch) -> None:
    site = Site(files.pki, tmp_path)
    with launch.start(site.source, {"reload_interval": "600"}) as server:
        context = client(alpn=["http/1.1"])
        with (
            socket.create_connection(("127.0.0.1", server.port), timeout=60) as raw,
            context.wrap_socket(raw, server_hostname="localhost") as streaming,
        ):
            streaming.sendall(b"GET /slow?0.8 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            for _ in range(3):
                pair = site.next_pair()
                without_events(site, pair)  # so that nothing but the signal can tell
                os.kill(server.process.pid, signal.SIGHUP)
                wait_until_all_serve(launch, server, pair)
            # The connection of before has its answer, and takes another request.
            assert b" 200 " in _answer(streaming)
            streaming.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b" 200 " in _answer(streaming)
        for word in ("Shutting down", "Finished server process", "restarting"):
            assert word not in server.text


def _answer(secure: ssl.SSLSocket) -> bytes:
    text = b""
    while b"}" not in text.partition(b"\r\n\r\n")[2] or not text.rstrip().endswith(b"}"):
        chunk = secure.recv(65536)
        assert chunk, "the connection was lost"
        text += chunk
    return text


@pytest.mark.parametrize(
    "launch", split([Launch("gunicorn", "asgi", 2), Launch("gunicorn", "gthread")], QUICK), ids=str
)
def test_sighup_of_gunicorn_makes_new_workers_that_load_the_new_pair(
    files: Files, tmp_path: Path, launch: Launch
) -> None:
    site = Site(files.pki, tmp_path)
    with launch.start(site.source, {"reload_interval": "600"}) as server:
        served(launch, server)
        pair = site.next_pair()
        without_events(site, pair)
        os.kill(server.process.pid, signal.SIGHUP)
        until(lambda: served(launch, server) == pair.der, server)
        assert "Hang up" in server.text


@pytest.mark.parametrize(
    ("launch", "where"),
    [
        (Launch("uvicorn", "asyncio"), "import"),
        (Launch("uvicorn", "uvloop"), "lifespan"),
        (Launch("uvicorn", "asyncio"), "loop"),
        (Launch("uvicorn", "uvloop"), "loop"),
    ],
    ids=str,
)
def test_a_handler_of_the_applications_own_is_called_as_well(
    files: Files, tmp_path: Path, launch: Launch, where: str
) -> None:
    site = Site(files.pki, tmp_path)
    (tmp_path / "sighup_app.py").write_text(
        "import asyncio, signal\n"
        "from facts_app import app as facts\n"
        "def say(*_): print('the handler of the application', flush=True)\n"
        f"if {where == 'import'}: signal.signal(signal.SIGHUP, say)\n"
        "async def app(scope, receive, send):\n"
        "    if scope['type'] == 'lifespan':\n"
        f"        if {where == 'lifespan'}: signal.signal(signal.SIGHUP, say)\n"
        f"        if {where == 'loop'}: asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, say)\n"
        "        print('set', flush=True)\n"
        "    await facts(scope, receive, send)\n"
    )
    command = launch.command(site.source, {"reload_interval": "600"})
    command = [part.replace("facts_app:app", "sighup_app:app") for part in command]
    env = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{APP_DIRECTORY}"}
    ready, count = launch.readiness()
    with serve(command, env=env, ready=ready, count=count) as server:
        time.sleep(1.2)  # ours is set in front of a later one within a second
        pair = site.next_pair()
        without_events(site, pair)
        os.kill(server.process.pid, signal.SIGHUP)
        wait_until_all_serve(launch, server, pair)
        until(lambda: "the handler of the application" in server.text, server)


BAD = {
    "mismatched": ("does not belong to", "key-mismatch"),
    "truncated": ("is truncated", "truncated-file"),
    "empty": ("is empty", "empty-file"),
    "garbage": ("contains no PEM block", "not-pem"),
    "expired": ("expired on", "expired"),
    "wrong password": ("the password is wrong", "password"),
    "unreadable": ("is a directory", "unreadable-file"),
    "deleted": ("no such file. It is gone; what was loaded from it stays in use. Put it back", "missing-file"),
}


def spoil(site: Site, how: str) -> None:
    """Leave files behind that cannot be served."""
    cert, key = (Path(path) for path in site.source.paths)
    pair = site.next_pair()
    if how == "mismatched":
        key.write_bytes(site.texts(pair)["privkey.pem"])
    elif how == "truncated":
        cert.write_bytes(pair.chain_pem[: len(pair.chain_pem) // 2])
    elif how == "empty":
        cert.write_bytes(b"")
    elif how == "garbage":
        cert.write_bytes(os.urandom(1000).replace(b"-", b"+"))
    elif how == "expired":
        site.write(site.pki.expired("localhost"), site.mount)
    elif how == "wrong password":
        site.write(pair, site.mount)
        key.write_bytes(pair.encrypted_key_pem(b"another"))
    elif how == "unreadable":
        cert.unlink()
        cert.mkdir()
    elif how == "deleted":
        key.unlink()


@pytest.mark.parametrize("at_once", [True, False], ids=["SIGHUP", "on its own"])
def test_what_is_bad_is_named_and_never_served(files: Files, tmp_path: Path, at_once: bool) -> None:
    site = Site(files.pki, tmp_path, password=b"secret")
    launch = Launch("uvicorn", "asyncio")
    command = launch.command(site.source, {"reload_interval": "0.5"})
    ready, count = launch.readiness()
    with serve([*command, "--ssl-keyfile-password=secret"], ready=ready, count=count) as server:
        good = served(launch, server)
        for how, (says, code) in BAD.items() if at_once else list(BAD.items())[1::3]:
            before = server.text.count("kept the old certificate")
            spoil(site, how)
            if at_once:
                os.kill(server.process.pid, signal.SIGHUP)
            deadline = time.monotonic() + PATIENCE
            while server.text.count("kept the old certificate") == before:
                assert time.monotonic() < deadline, f"{how}: {server.text}"
                assert served(launch, server) == good
                time.sleep(0.02)
            line = next(line for line in reversed(server.log) if "kept the old certificate" in line)
            assert says in line, how
            assert line.rstrip().endswith(f" More: asgi-tls explain certificate-{code}"), how
            assert explain(line)[0].trouble.code == f"certificate-{code}", how
            assert str(site.mount) in line
            assert served(launch, server) == good
            if how == "unreadable":
                Path(site.source.certfile).rmdir()
            pair = site.next_pair()
            renamed(site, pair)
            wait_until_all_serve(launch, server, pair)
            good = pair.der
        assert "secret" not in server.text


RESTARTS = [Launch("uvicorn", "asyncio", 2), Launch("hypercorn", "asyncio"), Launch("gunicorn", "asgi", 2)]


@pytest.mark.parametrize("launch", split(RESTARTS, {"uvicorn-asyncio-2", "gunicorn-asgi-2"}), ids=str)
def test_a_worker_that_is_started_again_beside_bad_files_serves_what_was_good_last(
    files: Files, tmp_path: Path, launch: Launch
) -> None:
    site = Site(files.pki, tmp_path)
    more = ["--max-requests=3"] if launch.server == "hypercorn" else []
    with launch.start(site.source, {"reload_interval": "0.5"}, *more) as server:
        served(launch, server)
        good = site.next_pair()
        renamed(site, good)
        wait_until_all_serve(launch, server, good)
        _await(server, "renewed; workers that start later get it", 1)  # the parent has it too
        Path(site.source.certfile).write_bytes(b"")
        begins = {"uvicorn": "Started server process", "hypercorn": "Running on https", "gunicorn": "Booting worker"}
        begun = begins[launch.server]
        if launch.server != "hypercorn":
            worker = next(line for line in server.log if begun in line)
            os.kill(int(re.findall(r"\d+", worker.rpartition("process" if "process" in begun else "pid:")[2])[0]), 9)
        deadline = time.monotonic() + 30
        while sum(begun in line for line in server.log) <= launch.workers:
            assert time.monotonic() < deadline, server.text
            if launch.server == "hypercorn":
                with contextlib.suppress(OSError):
                    connect(server.port, client(alpn=["http/1.1"]))  # until it has had enough requests
            time.sleep(0.05)
        # The new worker reports the files once more, and serves what they held before.
        _await(server, "kept the old certificate: ", launch.workers)
        assert all(served(launch, server) == good.der for _ in range(6))
        assert "is empty" in server.text
        pair = site.next_pair()
        renamed(site, pair)
        wait_until_all_serve(launch, server, pair)
    assert "TLS cannot start" not in server.text


def _await(server: Server, text: str, times: int) -> None:
    until(lambda: server.text.count(text) >= times, server)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can start workers as nobody")
def test_gunicorn_loads_what_its_workers_may_not_read(files: Files) -> None:
    """As root before each fork: at the start, at SIGHUP, and for a worker that takes another one's place."""
    with tempfile.TemporaryDirectory() as name:  # pytest's own directories are closed to others
        root = Path(name)
        root.chmod(0o755)
        site = Site(files.pki, root)
        with Launch("gunicorn", "asgi").start(site.source, {"reload_interval": "0.3"}, "--user=nobody") as server:
            assert "privkey.pem cannot be read by the user of the workers" in server.text
            assert "SIGHUP" in server.text
            for how in ("HUP", "KILL"):
                pair = site.next_pair()
                renamed(site, pair)
                _await(server, "renewed; workers that start later get it", 1 if how == "HUP" else 2)
                _await(
                    server,
                    "permission denied to read the certificate. Send SIGHUP to the parent",
                    1 if how == "HUP" else 2,
                )
                if how == "KILL":
                    worker = [line for line in server.log if "Booting worker" in line][-1]
                    os.kill(int(worker.rpartition("pid:")[2]), signal.SIGKILL)
                else:
                    os.kill(server.process.pid, signal.SIGHUP)
                    _await(server, "Booting worker", 2)  # the arbiter has loaded before that
                deadline = time.monotonic() + PATIENCE
                while True:
                    with contextlib.suppress(OSError):
                        if connect(server.port, client(), path=None).certificate == pair.der:
                            break
                    assert time.monotonic() < deadline, server.text
                    time.sleep(0.05)
            assert "start the server as a user who may" not in server.text
            assert "Traceback" not in server.text
            assert "TLS cannot start" not in server.text
