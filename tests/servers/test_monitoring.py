"""The guard and the metrics in a running server."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from conversations import DATA, V13, alert, send, talk
from files import Files
from handshakes import client, connect
from in_process import here
from launch import Launch
from patience import PATIENCE, until
from pki import DAY
from ports import free_port
from renewals import Site, renamed
from servers import Server, await_port, run, serve
from wire import events, hello, say

SERVERS = [Launch("uvicorn", "uvloop", 2), Launch("hypercorn", "asyncio", 0), Launch("gunicorn", "asgi")]


def scrape(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE) as answer:
        lines = answer.read().decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


@pytest.mark.parametrize(
    "launch",
    [
        Launch("uvicorn", "uvloop", 2),
        pytest.param(Launch("hypercorn", "asyncio", 2), marks=pytest.mark.system),
        pytest.param(Launch("gunicorn", "asgi", 2), marks=pytest.mark.system),
    ],
    ids=str,
)  # fmt: skip
def test_metrics_of_all_workers(files: Files, launch: Launch) -> None:
    port = free_port()
    good, bad = 12, 7
    with launch.start(files.ecdsa, {"metrics": f"127.0.0.1:{port}"}) as server:
        for _ in range(good):
            connect(server.port, client(ca=files.ca_text))
        for _ in range(bad):
            say(server.port, b"\x00" * 20)
        deadline = time.monotonic() + PATIENCE
        while True:
            found = scrape(port)
            sessions = {name: value for name, value in found.items() if name.startswith("asgi_tls_handshakes_total")}
            failures = found.get('asgi_tls_handshake_failures_total{code="WRONG_VERSION_NUMBER"}', 0)
            if (sum(sessions.values()) >= good and failures >= bad) or time.monotonic() > deadline:
                break
            time.sleep(0.05)
    assert sum(sessions.values()) == good
    assert failures == bad
    (name,) = sessions
    assert 'protocol="TLSv1.3"' in name
    assert 'resumed="false"' in name
    assert found["asgi_tls_handshake_duration_seconds_count"] == good
    not_after = files.ecdsa.load().not_after.timestamp()
    assert found['asgi_tls_certificate_not_after_timestamp_seconds{name="localhost"}'] == pytest.approx(not_after)


@pytest.mark.parametrize(
    "launch",
    [*SERVERS, Launch("gunicorn", "sync", 2), Launch("gunicorn", "gthread")],
    ids=str,
)  # fmt: skip
def test_a_server_without_clients_reports(files: Files, tmp_path: Path, launch: Launch) -> None:
    """As a standby does: what it serves, its metrics, and a renewal that has failed."""
    site, port = Site(files.pki, tmp_path), free_port()
    workers = max(launch.workers, 1)
    with launch.start(site.source, {"metrics": f"127.0.0.1:{port}", "reload_interval": "0.4"}) as server:
        until(lambda: sum("serving" in line and "until" in line for line in server.log) == workers, server)
        name = 'asgi_tls_certificate_not_after_timestamp_seconds{name="localhost"}'
        until(lambda: port_has(port, name), server)
        Path(site.source.certfile).write_bytes(b"")
        until(lambda: server.text.count("kept the old certificate") >= workers, server)
        until(lambda: port_has(port, "asgi_tls_reload_failures_total"), server)
        assert "Traceback" not in server.text


def port_has(port: int, name: str) -> bool:
    """prometheus_client answers with status 500 while a worker makes a file."""
    with contextlib.suppress(OSError):
        return any(each.startswith(name) for each in scrape(port))
    return False


HOOKED = """
from asgi_tls import PEMFiles, ServerTLS
from asgi_tls.events import CertificateLoadedEvent
def post_worker_init(worker):
    print("a hook of the user's own", flush=True)
def served(event):
    if isinstance(event, CertificateLoadedEvent):
        print("loaded in a worker", flush=True)
ssl_context = ServerTLS(PEMFiles({certfile!r}, {keyfile!r}), listeners=[served]).gunicorn_ssl_context
"""


def test_gunicorns_workers_begin_without_a_client_after_every_sighup(files: Files, tmp_path: Path) -> None:
    """A hook of the user's own is called once in each. Where a SIGHUP brings wrong settings, the last stay."""
    configuration = tmp_path / "gunicorn.conf.py"

    def configure(certfile: object) -> None:
        text = HOOKED.format(certfile=str(certfile), keyfile=str(files.ecdsa.keyfile))
        configuration.write_text(text, encoding="utf-8")

    configure(files.ecdsa.certfile)
    command = [sys.executable, "-m", "gunicorn", "-c", str(configuration), "--bind=127.0.0.1:0", "facts_app:wsgi"]
    with serve(command, ready="loaded in a worker") as server:
        for begun, certfile in ((2, files.ecdsa.certfile), (3, tmp_path / "missing.pem")):
            configure(certfile)
            server.process.send_signal(signal.SIGHUP)
            until(lambda begun=begun: server.text.count("loaded in a worker") == begun, server)  # type: ignore[misc]
            assert server.text.count("a hook of the user's own") == begun
        assert "kept the previous TLS settings" in server.text
        assert "Traceback" not in server.text


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can start workers as nobody")
def test_metrics_of_workers_of_another_user(files: Files) -> None:
    """They write to the directory that root has made. In one that they cannot write to, nothing is served."""
    port, launch = free_port(), Launch("gunicorn", "asgi")
    metrics = {"metrics": f"127.0.0.1:{port}"}
    with launch.start(files.ecdsa, metrics, "--user=nobody") as server:
        connect(server.port, client(ca=files.ca_text))
        until(lambda: of_this_server(port), server)
    with tempfile.TemporaryDirectory() as directory:
        command = launch.command(files.ecdsa, metrics, "--user=nobody")
        status, text = run(command, env={"PROMETHEUS_MULTIPROC_DIR": directory})
    assert status == 3
    assert f"TLS cannot start: PROMETHEUS_MULTIPROC_DIR={directory}: Permission denied. Set it to a directory" in text
    assert "Traceback" not in text
    assert "ASGI server listening" not in text


@pytest.mark.parametrize("launch", SERVERS, ids=str)
def test_an_address_that_another_program_has_is_refused(files: Files, launch: Launch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        taken.settimeout(PATIENCE)
        threading.Thread(target=lambda: taken.accept()[0].close(), daemon=True).start()
        status, text = here(launch.command(files.ecdsa, {"metrics": address}))
    assert status == 3, text
    assert f"Error: cannot listen on {address}: Address already in use. Stop the program that uses it" in text
    assert "Traceback" not in text


def test_an_address_that_cannot_be_is_refused(files: Files) -> None:
    for address, says in (
        ("192.0.2.1:9464", "Cannot assign requested address. Choose an address that this machine has."),
        ("nosuch.invalid:9464", "Choose another address or port."),
    ):
        status, text = here(Launch("uvicorn", "asyncio").command(files.ecdsa, {"metrics": address}))
        assert status == 3, text
        assert f"Error: cannot listen on {address}: " in text
        assert says in text


@pytest.mark.parametrize("launch", SERVERS, ids=str)
def test_a_server_that_still_answers_is_followed(files: Files, launch: Launch) -> None:
    """After a restart the previous one may still serve its last connections."""
    port = free_port()
    metrics = {"metrics": f"127.0.0.1:{port}"}
    with contextlib.ExitStack() as previous:
        previous.enter_context(Launch("uvicorn", "asyncio").start(files.ecdsa, metrics))
        await_port(port)
        with launch.start(files.ecdsa, metrics) as server:
            assert server.text.count(f"another server serves its metrics on 127.0.0.1:{port}") == 1, server.text
            connect(server.port, client(ca=files.ca_text))
            previous.close()
            until(lambda: of_this_server(port), server)
            assert "cannot serve metrics" not in server.text


def of_this_server(port: int) -> bool:
    """Whether it has counted a handshake."""
    return port_has(port, "asgi_tls_handshakes_total")


def test_gunicorn_that_replaces_itself(files: Files) -> None:
    """SIGUSR2 after SIGHUP: the arbiter that ends removes its own directory, not that of the new one."""
    port, ready = free_port(), "ASGI server listening"
    with Launch("gunicorn", "asgi").start(files.ecdsa, {"metrics": f"127.0.0.1:{port}"}) as server:
        server.process.send_signal(signal.SIGHUP)
        until(lambda: server.text.count(ready) == 2, server)
        server.process.send_signal(signal.SIGUSR2)
        until(lambda: server.text.count(ready) == 3, server)
        server.process.terminate()
        assert server.process.wait(PATIENCE) == 0
        connect(server.port, client(ca=files.ca_text))
        until(lambda: of_this_server(port), server)
        assert "cannot serve metrics" not in server.text


@contextlib.contextmanager
def sharing(files: Files, launch: Launch, port: int, directory: Path) -> Iterator[tuple[Server, Path]]:
    """A server, and the directory that it has made for its metrics in this one."""
    before = {*directory.iterdir()}
    ready, count = launch.readiness()
    command = launch.command(files.ecdsa, {"metrics": f"127.0.0.1:{port}"})
    with serve(command, ready=ready, count=count, env={"TMPDIR": str(directory)}) as server:
        (made,) = (path for path in {*directory.iterdir()} - before if path.name.startswith("asgi-tls-metrics-"))
        yield server, made


def total(port: int) -> float:
    """The handshakes that were counted; 0 while nobody answers. An answer that is an error fails the test."""
    try:
        return sum(value for name, value in scrape(port).items() if name.startswith("asgi_tls_handshakes_total"))
    except urllib.error.HTTPError:
        raise
    except OSError:
        return 0


def test_a_scrape_while_a_worker_starts(files: Files, tmp_path: Path) -> None:
    """prometheus_client makes a file first, and then gives it a size."""
    port = free_port()
    with sharing(files, Launch("uvicorn", "asyncio"), port, tmp_path) as (server, directory):
        (directory / "counter_worker-9.db").touch()
        (directory / "gauge_livemostrecent_worker-9.db").touch()
        connect(server.port, client(ca=files.ca_text))
        until(lambda: total(port) == 1, server)
        assert "Traceback" not in server.text


def test_workers_that_are_replaced(files: Files, tmp_path: Path) -> None:
    """They count on, in the files of those before them. What a scrape costs does not grow."""
    port, launch = free_port(), Launch("gunicorn", "asgi", 2)
    with sharing(files, launch, port, tmp_path) as (server, directory):
        for reloads in range(1, 5):
            connect(server.port, client(ca=files.ca_text))
            until(lambda: total(port) == reloads, server)  # noqa: B023 -- called before the next one
            server.process.send_signal(signal.SIGHUP)
            ended = launch.workers * reloads
            until(lambda: total(port) >= 0 and server.text.count("Worker exiting") == ended, server)  # noqa: B023
        until(lambda: total(port) == reloads, server)
        kinds = ("counter", "histogram", "gauge_mostrecent", "gauge_livemostrecent")
        # Those of a reload run beside those before.
        assert len([*directory.glob("*.db")]) <= len(kinds) * 2 * launch.workers, [*directory.iterdir()]
        assert "Traceback" not in server.text


@pytest.mark.parametrize("launch", SERVERS, ids=str)
def test_what_a_killed_server_leaves_is_removed_at_the_next_start(files: Files, launch: Launch, tmp_path: Path) -> None:
    with sharing(files, launch, free_port(), tmp_path) as (_, running):
        with sharing(files, launch, free_port(), tmp_path) as (server, left):
            os.killpg(server.process.pid, signal.SIGKILL)
            server.process.wait(PATIENCE)
        assert left.exists()
        with sharing(files, launch, free_port(), tmp_path) as (server, _):
            assert not left.exists()
            assert running.exists()
            assert "Traceback" not in server.text


def served_names(port: int) -> dict[str, float]:
    """What is reported of each name."""
    metric = "asgi_tls_certificate_not_after_timestamp_seconds"
    with contextlib.suppress(OSError):
        return {name.split('"')[1]: value for name, value in scrape(port).items() if name.startswith(metric)}
    return {}


@pytest.mark.parametrize("launch", [Launch("uvicorn", "uvloop", 2), *SERVERS[1:]], ids=str)
def test_names_that_are_no_longer_served(files: Files, launch: Launch, tmp_path: Path) -> None:
    """Their old expiry would be an alert."""
    port, site = free_port(), Site(files.pki, tmp_path)
    both = files.pki.leaf("localhost", "old.example", not_after=files.pki.now + 5 * DAY)
    renamed(site, both)
    with launch.start(site.source, {"metrics": f"127.0.0.1:{port}"}) as server:
        expiry = files.pki.now.timestamp() + 5 * 86400
        until(lambda: served_names(port) == pytest.approx({"localhost": expiry, "old.example": expiry}), server)
        renamed(site, files.pki.leaf("localhost", not_after=files.pki.now + 90 * DAY))
        expiry = files.pki.now.timestamp() + 90 * 86400
        until(lambda: served_names(port) == pytest.approx({"localhost": expiry}), server)
        # It comes back with the name.
        renamed(site, both)
        until(lambda: served_names(port).keys() == {"localhost", "old.example"}, server)


@pytest.mark.parametrize("launch", [Launch("uvicorn", "uvloop", 2), *SERVERS[1:]], ids=str)
def test_a_site_that_is_removed_from_the_directory(files: Files, launch: Launch, tmp_path: Path) -> None:
    for name in ("localhost", "old.example"):
        (tmp_path / name).mkdir()
        files.pki.leaf(name).write(tmp_path / name)
    port = free_port()
    with launch.start(None, {"directory": str(tmp_path), "metrics": f"127.0.0.1:{port}"}) as server:
        until(lambda: served_names(port).keys() == {"localhost", "old.example"}, server)
        shutil.rmtree(tmp_path / "old.example")
        until(lambda: served_names(port).keys() == {"localhost"}, server)


def test_names_that_only_earlier_workers_served(files: Files, tmp_path: Path) -> None:
    for name in ("localhost", "old.example"):
        (tmp_path / name).mkdir()
        files.pki.leaf(name).write(tmp_path / name)
    port, launch = free_port(), Launch("gunicorn", "asgi", 2)
    with launch.start(None, {"directory": str(tmp_path), "metrics": f"127.0.0.1:{port}"}) as server:
        until(lambda: served_names(port).keys() == {"localhost", "old.example"}, server)
        shutil.rmtree(tmp_path / "old.example")
        server.process.send_signal(signal.SIGHUP)
        until(lambda: server.text.count("Worker exiting") == launch.workers, server)
        until(lambda: served_names(port).keys() == {"localhost"}, server)


CONFIGURATION = """
import os
from asgi_tls import PEMFiles, ServerTLS
from asgi_tls.listeners.log import log_events
from asgi_tls.listeners.prometheus import PrometheusMetrics
from asgi_tls.servers.gunicorn import GunicornContextFactory
listeners = [log_events, PrometheusMetrics(address=os.environ["METRICS"])]
ssl_context = GunicornContextFactory(ServerTLS(PEMFiles({certfile!r}, {keyfile!r}), listeners=listeners))
"""


def test_a_server_that_was_not_checked_says_once_that_it_serves_no_metrics(files: Files, tmp_path: Path) -> None:
    """With listeners from Python. When the address is free, they are served."""
    pair = {"certfile": str(files.ecdsa.certfile), "keyfile": str(files.ecdsa.keyfile)}
    (tmp_path / "gunicorn.conf.py").write_text(CONFIGURATION.format(**pair))
    command = [sys.executable, "-m", "gunicorn", f"--config={tmp_path}/gunicorn.conf.py", "-kasgi"]
    command += ["--bind=127.0.0.1:0", "facts_app:app"]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # it does not listen, so it refuses at once
        port = taken.getsockname()[1]
        ready = f"Listening at|WARNING.* cannot serve metrics on 127.0.0.1 port {port}: .*Address already in use"
        with serve(command, ready=ready, count=2, env={"METRICS": f"127.0.0.1:{port}"}) as server:
            connect(server.port, client(ca=files.ca_text))
            taken.close()
            until(lambda: of_this_server(port), server)
            assert server.text.count("cannot serve metrics") == 1
    ready = "Listening at|ERROR.* cannot serve metrics on 192.0.2.1 port 9464: .*Cannot assign requested address"
    with serve(command, ready=ready, count=2, env={"METRICS": "192.0.2.1:9464"}) as server:
        connect(server.port, client(ca=files.ca_text))


GARBAGE = b"\x01" * 20
STUN = b"\x00\x03\x00\x08\x21\x12\xa4\x42" + bytes(20)  # RFC 8656: Allocate, as a browser's WebRTC sends it
SSLTCP = b"\x80\x46\x01\x03\x01\x00\x2d\x00\x00\x00\x10" + bytes(61)  # and what Chromium sends before it to "ssltcp"


@pytest.mark.parametrize(
    "launch",
    [
        Launch("uvicorn", "uvloop"),
        Launch("hypercorn", "asyncio", 0),
        pytest.param(Launch("gunicorn", "gthread"), marks=pytest.mark.system),
    ],
    ids=str,
)
def test_the_guard(files: Files, launch: Launch) -> None:
    named = f"localhost={files.ecdsa.certfile},{files.ecdsa.keyfile}"
    settings = {
        "certificate": named,
        "guard_allow": "192.0.2.0/24",
        "guard": "1",
        "log_json": "1",
        "handshake_timeout": "3",
    }
    ech_required = 121
    codes = {"UNRECOGNIZED_NAME": 25, "HTTP_REQUEST": 25, "STUN_REQUEST": 50, "NO_DATA": 25}
    with launch.start(None, settings) as server:
        # A web page can make a browser do all of this.
        for data in (
            hello(server_name="elsewhere.example"),
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
            STUN,
            SSLTCP,
        ):
            for _ in range(25):
                assert say(server.port, data).data
        for _ in range(25):
            say(server.port, finish=True)
        if launch.kind != "gthread":  # takes a connection up when it speaks
            with contextlib.ExitStack() as stack:
                waiting = [stack.enter_context(socket.create_connection(("127.0.0.1", server.port))) for _ in range(25)]
                assert [sock.recv(1) for sock in waiting] == [b""] * 25
                codes["HANDSHAKE_TIMEOUT"] = 25
        # A key for Encrypted Client Hello that the page's author has published and this server does not have.
        for _ in range(3):
            assert talk(server.port, V13, after=send(alert(2, ech_required))) != DATA
        if launch.kind != "gthread":  # reports no errors behind a handshake
            codes["UNKNOWN_ERROR"] = 3
        # And no browser does this.
        for _ in range(19):
            say(server.port, GARBAGE)
        assert connect(server.port, client(ca=files.ca_text)).protocol == "TLSv1.3"
        say(server.port, GARBAGE)
        for _ in range(3):
            assert say(server.port, GARBAGE).data == b""
        with pytest.raises(OSError, match="EOF|reset|closed"):
            connect(server.port, client(ca=files.ca_text))
        codes["WRONG_VERSION_NUMBER"] = 20
        assert {"blocked", "refused"} == {event["action"] for event in events(server, name="tls_guard", count=2)}
        failed = events(server, name="tls_client_error", count=sum(codes.values()))
        assert Counter(event["code"] for event in failed) == codes
        assert "Traceback" not in server.text


def test_a_bad_redis_url_stops_the_start_and_is_not_shown(files: Files) -> None:
    command = Launch("uvicorn", "asyncio").command(files.ecdsa, {})
    status, printed = run(command, env={"ASGI_TLS_GUARD_REDIS": "redis://:hunter2/x@127.0.0.1:6379/0"})
    assert status != 0
    assert "ASGI_TLS_GUARD_REDIS" in printed
    assert "hunter2" not in printed
    assert "Traceback" not in printed


def test_cpu_of_a_blocked_connection(files: Files) -> None:
    """Under a fifth of a failed handshake's."""
    launch = Launch("uvicorn", "uvloop")

    def cost(server: Server, count: int) -> float:
        before = cpu(server.process.pid)
        for _ in range(count):
            say(server.port, b"\x00" * 20)
        settled(server.process.pid)
        return (cpu(server.process.pid) - before) / count

    with launch.start(files.ecdsa, {}) as free, launch.start(files.ecdsa, {}, "--tls-guard") as guarded:
        failed, blocked = cost(free, 100), cost(guarded, 100)
        # In turns, and the best of each: other work on the machine falls on both, and costs caches.
        for _ in range(20):
            failed, blocked = min(failed, cost(free, 100)), min(blocked, cost(guarded, 100))
            if blocked < failed / 5:
                return
    pytest.fail(f"{blocked:.6f} s for one that is blocked, {failed:.6f} s for one that fails")


def settled(pid: int) -> None:
    """Wait until a process has done its work, the threads that write its log too: each thread sleeps, and none has run
    between two looks.
    """
    deadline, before = time.monotonic() + PATIENCE, -1.0
    while True:
        states = {text.rpartition(")")[2].split()[0] for text in of_threads(pid, "stat")}
        now = cpu(pid)
        if states == {"S"} and now == before:
            return
        assert time.monotonic() < deadline, states
        before = now
        time.sleep(0.05)


def cpu(pid: int) -> float:
    return sum(int(text.split()[0]) for text in of_threads(pid, "schedstat")) / 1e9


def of_threads(pid: int, name: str) -> Iterator[str]:
    """This file of each thread, but of those that end meanwhile."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            yield (task / name).read_text()
