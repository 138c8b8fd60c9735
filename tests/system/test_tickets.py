"""Sessions resumed: 200 clients at 4 workers, two hosts behind HAProxy; and what very many handshakes leave behind."""

from __future__ import annotations

import contextlib
import os
import signal
import ssl
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest
from files import Files
from handshakes import client, connect
from launch import Launch
from patience import PATIENCE, until
from ports import free_port
from renewals import Site, without_events
from returning import Crowd
from servers import await_port
from wire import events

pytestmark = pytest.mark.system

V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
SUPPORT = Path(__file__).parents[1] / "support"

CLIENTS = 200


@pytest.mark.parametrize("launch", [Launch("uvicorn", "uvloop", 4), Launch("hypercorn", "asyncio", 4)], ids=str)
def test_200_clients_come_back_to_4_workers(files: Files, tmp_path: Path, launch: Launch) -> None:
    site = Site(files.pki, tmp_path)
    with launch.start(site.source, {"reload_interval": "600"}) as server:
        crowds = {version: Crowd(CLIENTS, version) for version in (V12, V13)}
        for version, crowd in crowds.items():
            assert crowd.visit(server.port).resumed == 0
            back = crowd.visit(server.port)
            assert back.resumed >= 0.99, version
            assert back.elsewhere
        pair = site.next_pair()
        without_events(site, pair)
        os.kill(server.process.pid, signal.SIGHUP)
        words = pair.certificate.not_valid_after_utc.strftime("until %Y-%m-%dT%H:%M:%S")
        until(lambda: server.text.count(words) >= launch.workers, server)
        assert connect(server.port, client()).certificate == pair.der
        for version, crowd in crowds.items():
            assert crowd.visit(server.port).resumed >= 0.99, version
        assert "Traceback" not in server.text


@pytest.mark.parametrize("launch", [Launch("uvicorn", "uvloop"), Launch("gunicorn", "gthread")], ids=str)
def test_curl_resumes_by_session_id(files: Files, launch: Launch) -> None:
    """curl takes no tickets of TLS 1.2, since it was built so on Debian."""
    with launch.start(files.ecdsa, {"log_json": "1"}) as server:
        urls = [f"https://localhost:{server.port}/"] * 3
        command = ["curl", "--silent", "--fail", "--tls-max", "1.2", "--cacert", str(files.ca), "--http1.1"]
        subprocess.run([*command, "--header", "Connection: close", *urls], check=True, capture_output=True, timeout=60)
        found = events(server, name="tls_session", count=3)
        assert [(event["protocol"], event["resumed"]) for event in found] == [
            ("TLSv1.2", False),
            ("TLSv1.2", True),
            ("TLSv1.2", True),
        ]


HAPROXY = """
global
    maxconn 200
defaults
    mode tcp
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend tls
    bind 127.0.0.1:{port}
    default_backend hosts
backend hosts
    balance roundrobin
    server one 127.0.0.1:{one}
    server two 127.0.0.1:{two}
"""


@contextlib.contextmanager
def haproxy(directory: Path, **ports: int) -> Iterator[int]:
    port = free_port()
    configuration = directory / "haproxy.cfg"
    configuration.write_text(HAPROXY.format(port=port, **ports), encoding="ascii")
    process = subprocess.Popen(["haproxy", "-db", "-f", str(configuration)])
    try:
        await_port(port)
        yield port
    finally:
        process.terminate()
        process.wait(60)


def test_two_hosts_behind_haproxy(files: Files, tmp_path: Path) -> None:
    secret = os.urandom(32).hex()
    sites = [Site(files.pki, tmp_path / name) for name in ("one", "two")]
    launches = [Launch("uvicorn", "uvloop", 2), Launch("hypercorn", "asyncio", 2)]
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setenv("ASGI_TLS_TICKET_SECRET", secret)
        one, two = (
            stack.enter_context(launch.start(site.source, {"reload_interval": "600"}))
            for launch, site in zip(launches, sites, strict=True)
        )
        port = stack.enter_context(haproxy(tmp_path, one=one.port, two=two.port))
        crowds = [Crowd(CLIENTS, version) for version in (V12, V13)]
        for crowd in crowds:
            assert crowd.visit(port).resumed == 0
            back = crowd.visit(port)
            assert back.resumed >= 0.99
            assert back.elsewhere
        # One of them has a new certificate, both were sent SIGHUP.
        without_events(sites[0], sites[0].next_pair())
        wanted = [(one, "until ", one.text.count("until ") + 2), (two, "reloaded: no file has changed", 2)]
        for server in (one, two):
            os.kill(server.process.pid, signal.SIGHUP)
        deadline = time.monotonic() + PATIENCE
        while not all(server.text.count(words) >= count for server, words, count in wanted):
            assert time.monotonic() < deadline, one.text + two.text
            time.sleep(0.02)
        for crowd in crowds:
            assert crowd.visit(port).resumed >= 0.99
        for server in (one, two):
            assert "Traceback" not in server.text
            assert secret not in server.text


def test_valgrind_finds_nothing_of_ours(files: Files, tmp_path: Path) -> None:
    """No access to memory that is not there, and nothing lost in libssl, while it calls back into Python.

    CPython loses a session each time a client asks for one (ran: 3.11.7, `_ssl_session_dup`): that one is left out.
    """
    report = tmp_path / "valgrind.xml"
    program = [sys.executable, str(SUPPORT / "many_handshakes.py"), "12", *map(str, files.ecdsa.paths)]
    done = subprocess.run(
        ["valgrind", "--leak-check=full", "--show-leak-kinds=definite", "--num-callers=50", "--undef-value-errors=no",
         "--xml=yes", f"--xml-file={report}", *program],
        env={**os.environ, "PYTHONMALLOC": "malloc"}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[1]) > 24
    found = []
    errors = ET.parse(report).getroot().findall("error")
    assert errors  # it has looked
    for error in errors:
        frames = [frame.findtext("fn") or frame.findtext("obj") or "" for frame in error.iter("frame")]
        libraries = {Path(frame.findtext("obj") or "").name.split(".")[0] for frame in error.iter("frame")}
        lost = (error.findtext("kind") or "").startswith("Leak_")
        if not lost or ("libssl" in libraries and "_ssl_session_dup" not in frames):
            found.append((error.findtext("kind"), frames))
    assert not found
