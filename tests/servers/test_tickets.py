"""Sessions resumed at whichever worker or host a client comes back to, over real sockets."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from files import Files
from handshakes import client, connect
from launch import Launch, split
from patience import PATIENCE, until
from renewals import Site, without_events
from returning import Crowd
from servers import APP_DIRECTORY, Server, run, serve

V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3

SHARING = [
    Launch("uvicorn", "asyncio", 2),
    Launch("uvicorn", "uvloop", 2),
    Launch("hypercorn", "asyncio", 2),
    Launch("hypercorn", "uvloop", 2),
    Launch("gunicorn", "asgi", 2),
    Launch("gunicorn", "gthread", 2),
]
QUICK = {"uvicorn-asyncio-2", "hypercorn-uvloop-2"}


def wait_for_certificate(server: Server, certificate: bytes) -> None:
    deadline = time.monotonic() + PATIENCE
    fresh = 0
    while fresh < 12:  # every worker has it, most likely
        fresh = fresh + 1 if connect(server.port, client(), path=None).certificate == certificate else 0
        assert time.monotonic() < deadline, server.text
        time.sleep(0.02 if fresh else 0.1)


@pytest.mark.parametrize("launch", split(SHARING, QUICK), ids=str)
def test_workers_share_what_their_parent_made_across_a_renewal_and_sighup(
    files: Files, tmp_path: Path, launch: Launch
) -> None:
    site = Site(files.pki, tmp_path)
    with launch.start(site.source, {"reload_interval": "600"}) as server:
        crowds = [Crowd(16, version) for version in (V12, V13)]
        for crowd in crowds:
            assert crowd.visit(server.port).resumed == 0
            crowd.all_resume(server)
        pair = site.next_pair()
        without_events(site, pair)
        os.kill(server.process.pid, signal.SIGHUP)  # gunicorn makes new workers of it
        wait_for_certificate(server, pair.der)
        for crowd in crowds:
            assert crowd.visit(server.port).resumed == 1.0, server.text
        if launch.server == "uvicorn":
            a_worker_that_is_started_again_resumes(server, crowds[-1])
        assert "Traceback" not in server.text


def a_worker_that_is_started_again_resumes(server: Server, crowd: Crowd) -> None:
    first, started = crowd.visit(server.port), server.text.count("Application startup complete")
    os.kill(first.visits[0].worker, signal.SIGKILL)
    until(lambda: server.text.count("Application startup complete") != started, server)
    after = crowd.visit(server.port)
    assert after.resumed == 1.0
    assert {visit.worker for visit in after.visits} - {visit.worker for visit in first.visits}


CONFIGURATION = """
from asgi_tls import PEMFiles, ServerTLS
ssl_context = ServerTLS(PEMFiles({certfile!r}, {keyfile!r})).gunicorn_ssl_context
"""


def test_a_gunicorn_configuration_that_is_read_again(files: Files, tmp_path: Path) -> None:
    configuration = tmp_path / "gunicorn.conf.py"
    text = CONFIGURATION.format(certfile=str(files.ecdsa.certfile), keyfile=str(files.ecdsa.keyfile))
    configuration.write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "gunicorn", "-c", str(configuration), "-k", "asgi", "-w", "2"]
    command += ["--bind=127.0.0.1:0", "facts_app:app"]
    with serve(command, ready="ASGI server listening", count=2) as server:
        crowd = Crowd(16, V13)
        assert crowd.visit(server.port).resumed == 0
        crowd.all_resume(server)
        os.kill(server.process.pid, signal.SIGHUP)
        until(lambda: server.text.count("ASGI server listening") >= 4 and "Worker exiting" in server.text, server)
        assert crowd.visit(server.port).resumed == 1.0


ALONE = [
    *(Launch("uvicorn", loop) for loop in ("asyncio", "uvloop")),
    *(Launch("hypercorn", loop, 0) for loop in ("asyncio", "uvloop")),
    *(Launch("gunicorn", kind) for kind in ("asgi", "gthread", "sync")),
]


def visit(
    server: Server, context: ssl.SSLContext, session: ssl.SSLSession | None
) -> tuple[ssl.SSLSession | None, bool | None]:
    """One request, read to the end, which the server marks by close_notify: the session, and whether it was resumed."""
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=60) as raw,
        context.wrap_socket(
            raw, server_hostname="localhost", session=session, suppress_ragged_eofs=False
        ) as secure,
    ):  # fmt: skip
        secure.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        while secure.recv(65536):
            pass
        return secure.session, secure.session_reused


@pytest.mark.parametrize(
    "launch", split(ALONE, {"uvicorn-uvloop-1", "hypercorn-asyncio-0", "gunicorn-gthread-1"}), ids=str
)
def test_a_client_of_tls_1_2_without_tickets_resumes_at_its_worker(files: Files, launch: Launch) -> None:
    context = client(maximum=V12)
    context.options |= ssl.OP_NO_TICKET
    with launch.start(files.ecdsa, {}) as server:
        session, outcomes = None, []
        for _ in range(3):
            session, resumed = visit(server, context, session)
            outcomes.append(resumed)
        assert outcomes == [False, True, True], server.text


@pytest.mark.system
def test_uvicorns_reload(files: Files, tmp_path: Path) -> None:
    app = (APP_DIRECTORY / "facts_app.py").read_bytes()
    (tmp_path / "facts_app.py").write_bytes(app)
    command = Launch("uvicorn", "asyncio").command(files.ecdsa, {}, "--reload")
    with serve(command, cwd=tmp_path, ready="Application startup complete") as server:
        crowd = Crowd(4, V13)
        assert crowd.visit(server.port).resumed == 0
        started = changed = time.monotonic()
        (tmp_path / "facts_app.py").write_bytes(app + b"\n# changed\n")
        while server.text.count("Application startup complete") < 2:
            assert time.monotonic() < started + 40, server.text
            if time.monotonic() > changed + 8:  # the worker may be up before its parent watches
                changed = time.monotonic()
                (tmp_path / "facts_app.py").write_bytes(app + b"\n# changed %d\n" % changed)
            time.sleep(0.05)
        again = crowd.visit(server.port)
        assert again.resumed == 1.0
        assert again.elsewhere == 4


def test_two_hosts_with_one_secret_file_and_one_with_another(files: Files, tmp_path: Path) -> None:
    shared, other = tmp_path / "shared.key", tmp_path / "other.key"
    for path in (shared, other):
        path.write_bytes(os.urandom(32))
        path.chmod(0o600)
    with contextlib.ExitStack() as stack:
        one, two, stranger = (
            stack.enter_context(launch.start(files.ecdsa, {"ticket_secret_file": str(path), "reload_interval": "0.3"}))
            for launch, path in (
                (Launch("uvicorn", "asyncio"), shared),
                (Launch("hypercorn", "uvloop", 0), shared),
                (Launch("uvicorn", "uvloop"), other),
            )
        )
        crowds = [Crowd(8, version) for version in (V12, V13)]
        for crowd in crowds:
            assert crowd.visit(one.port, two.port).resumed == 0
            crowd.all_resume(one, two)
            assert crowd.visit(stranger.port).resumed == 0
            assert crowd.visit(one.port, two.port).resumed == 0
        # A new secret reaches all hosts without a restart, and ends the sessions of before.
        shared.write_bytes(os.urandom(32))
        deadline = time.monotonic() + PATIENCE
        while not all("shared.key reloaded" in server.text for server in (one, two)):
            assert time.monotonic() < deadline, one.text + two.text
            time.sleep(0.05)
        for crowd in crowds:
            assert crowd.visit(one.port, two.port).resumed == 0
            crowd.all_resume(one, two)
        assert all("Traceback" not in server.text for server in (one, two, stranger))


def test_a_short_secret_stops_the_start_and_is_not_shown(files: Files) -> None:
    command = Launch("uvicorn", "asyncio").command(files.ecdsa, {})
    status, text = run(command, env={"ASGI_TLS_TICKET_SECRET": "hunter2-hunter2"})
    assert status != 0
    assert "ASGI_TLS_TICKET_SECRET has 15 bytes, and 32 are needed" in text
    assert "hunter2" not in text


def test_after_rotation_an_old_ticket_leads_to_a_full_handshake(files: Files) -> None:
    """With epochs of a second, which no ticket outlives for long: visits over some edges, and one after a pause."""
    with Launch("uvicorn", "uvloop").start(files.ecdsa, {"ticket_rotation": "1"}) as server:
        crowd = Crowd(8, V13)
        outcomes: list[Any] = []
        deadline = time.monotonic() + 30
        while not (outcomes and max(outcomes) == 1.0 and time.time() % 1 > 0.5 and len(outcomes) > 20):
            outcomes.append(crowd.visit(server.port).resumed)
            assert time.monotonic() < deadline
        time.sleep(1.2)
        assert crowd.visit(server.port).resumed == 0
        assert "tls_client_error" not in server.text
        assert "Traceback" not in server.text
