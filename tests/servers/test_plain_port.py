"""`--tls-redirect-port`: the plain port beside the TLS port, in the same process."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from crowd import allow_descriptors, closed, silent
from cryptography import x509
from files import Files
from handshakes import client, connect
from in_process import here
from launch import Launch, split
from patience import PATIENCE
from pki import PKI
from ports import free_ports
from servers import Server, asgi_tls, await_port, run, serve

from asgi_tls import ServerTLS, create_client_context
from asgi_tls.certificate import PEMData
from asgi_tls.errors import ConfigurationError
from asgi_tls.middleware import redirect_app
from asgi_tls.servers import plain
from asgi_tls.servers.addresses import Address, bound, of_gunicorn, of_hypercorn, of_uvicorn

LAUNCHES = [
    Launch("uvicorn", "asyncio"),
    Launch("uvicorn", "uvloop", 2),
    Launch("hypercorn", "asyncio"),
    Launch("hypercorn", "uvloop"),
    Launch("hypercorn", "uvloop", 2),
    Launch("gunicorn", "asgi", 2),
]
QUICK = {"uvicorn-uvloop-2", "hypercorn-uvloop-1", "gunicorn-asgi-2"}


def pair(files: Files, server: str = "uvicorn") -> list[str]:
    prefix = "--ssl-" if server == "uvicorn" else "--"
    return [f"{prefix}certfile={files.ecdsa.certfile}", f"{prefix}keyfile={files.ecdsa.keyfile}"]


@pytest.mark.parametrize("launch", split(LAUNCHES, QUICK), ids=str)
def test_it_redirects_and_answers_challenges(files: Files, tmp_path: Path, launch: Launch) -> None:
    challenges = tmp_path / ".well-known" / "acme-challenge"
    challenges.mkdir(parents=True)
    (challenges / "token").write_text("token.thumbprint")
    https, plain_port = free_ports(2)
    options = [f"--tls-redirect-port={plain_port}", f"--tls-redirect-webroot={tmp_path}"]
    ready, count = launch.readiness()
    with serve(launch.command(files.ecdsa, {}, *options, port=https), ready=ready, count=count) as server:
        await_port(plain_port)
        _check(server, files, https, plain_port)
        server.process.terminate()
        assert server.process.wait(60) in {0, -15}, server.text
        await_end(plain_port)
    assert "serve a certificate that has the host" in server.text
    assert "Traceback" not in server.text
    assert "ERROR" not in server.text


def _check(server: Server, files: Files, https: int, plain_port: int) -> None:
    with httpx.Client() as http:
        answer = http.get(f"http://localhost:{plain_port}/a%2Fb?q=1")
        assert (answer.status_code, answer.headers["cache-control"]) == (307, "no-store"), server.text
        assert answer.headers["location"] == f"https://localhost:{https}/a%2Fb?q=1"
        foreign = http.get(f"http://127.0.0.1:{plain_port}/", headers={"host": "evil.example"})
        assert foreign.status_code == 400
        assert "in no certificate of this server (--tls-redirect-port)" in foreign.text
        assert "TLSMiddleware" not in foreign.text
        challenge = http.get(f"http://localhost:{plain_port}/.well-known/acme-challenge/token")
        assert (challenge.status_code, challenge.text) == (200, "token.thumbprint")
    with httpx.Client(verify=create_client_context(cafile=files.ca), follow_redirects=True) as http:
        assert http.get(f"http://localhost:{plain_port}/").json()["protocol"] == "TLSv1.3"


def await_end(port: int) -> None:
    """gunicorn's plain port is a process of its own, which ends after it."""
    deadline = time.monotonic() + PATIENCE
    with contextlib.suppress(ConnectionRefusedError):
        while time.monotonic() < deadline:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            time.sleep(0.02)
        pytest.fail("the plain port outlives its server")


def location(port: int, host: str = "127.0.0.1", name: str = "localhost") -> str:
    await_port(port, host=host.strip("[]"))
    return httpx.get(f"http://{host}:{port}/", headers={"host": name}).headers["location"]


def test_the_redirect_leads_to_the_port_that_clients_use(files: Files, tmp_path: Path) -> None:
    """Behind a forwarded port, on a descriptor, on a Unix socket, and on each of several binds."""
    https, other, plain_port = free_ports(3)
    redirect = f"--tls-redirect-port={plain_port}"
    uvicorn = asgi_tls("uvicorn", "facts_app:app", *pair(files), redirect)
    hypercorn = asgi_tls("hypercorn", "facts_app:app", *pair(files, "hypercorn"), redirect, "--workers=0")
    for line, ready, port in (
        ([*uvicorn, f"--uds={tmp_path / 'sock'}", "--tls-public-port=8443"], "Uvicorn running", ":8443"),
        ([*hypercorn, f"--bind=127.0.0.1:{https}", "--tls-public-port=443"], "Running on", ""),
    ):
        with serve(line, ready=ready):
            assert location(plain_port) == f"https://localhost{port}/"
    with serve([*hypercorn, f"--bind=127.0.0.1:{https}", f"--bind=127.0.0.2:{other}"], ready="Running on", count=2):
        assert location(plain_port) == f"https://localhost:{https}/"
        assert location(plain_port, "127.0.0.2") == f"https://localhost:{other}/"
    with socket.create_server(("127.0.0.1", https)) as listening:
        for line, ready in (
            ([*uvicorn, "--fd=0"], "Uvicorn running on socket"),
            ([*hypercorn, "--bind=fd://0"], "Running on"),
        ):
            with serve(line, ready=ready, stdin=listening.fileno()):
                assert location(plain_port) == f"https://localhost:{https}/"


def own_command(server: str) -> list[str]:
    return [sys.executable, "-m", server, "-c", f"python:asgi_tls.servers.{server}", "--bind=127.0.0.1:0"]


@pytest.mark.parametrize(
    ("command", "ready", "count"),
    [
        *(
            (launch.command(None, {}), *launch.readiness())
            for launch in (
                Launch("uvicorn", "uvloop"),
                Launch("uvicorn", "asyncio", 2),
                Launch("hypercorn", "asyncio", 0),
                Launch("hypercorn", "uvloop", 2),
                Launch("gunicorn", "asgi"),
                Launch("gunicorn", "sync"),
            )
        ),
        ([*own_command("hypercorn"), "facts_app:app"], "Running on https", 1),
        ([*own_command("gunicorn"), "-k", "gthread", "facts_app:wsgi"], "Booting worker", 1),
    ],
    ids=lambda value: " ".join(value[1:]) if isinstance(value, list) else "",
)
def test_plain_http_on_the_tls_port_leads_to_the_public_port(
    files: Files, command: list[str], ready: str, count: int
) -> None:
    """A client that names a port has reached TLS by it; one that names none came to a port that is forwarded."""
    env = {"ASGI_TLS_CERTFILE": str(files.ecdsa.certfile), "ASGI_TLS_KEYFILE": str(files.ecdsa.keyfile)}
    with serve(command, ready=ready, count=count, env=env | {"ASGI_TLS_PUBLIC_PORT": "443"}) as server:
        for host, leads_to in (("localhost", "localhost"), (f"localhost:{server.port}", f"localhost:{server.port}")):
            assert location(server.port, name=host) == f"https://{leads_to}/"
    with serve(command, ready=ready, count=count, env=env) as server:
        assert location(server.port) == f"https://localhost:{server.port}/"


IPV6_ONLY = Path("/proc/sys/net/ipv6/bindv6only")
BOTH_FAMILIES = pytest.mark.skipif(
    not IPV6_ONLY.exists() or IPV6_ONLY.read_text().strip() != "0", reason="`::` has no IPv4 on this machine"
)


def answers(host: str, port: int) -> bool:
    with contextlib.suppress(ConnectionRefusedError), socket.create_connection((host, port), timeout=PATIENCE):
        return True
    return False


@BOTH_FAMILIES
@pytest.mark.parametrize(
    ("launch", "over_ipv4"),
    [
        (Launch("uvicorn", "uvloop", 2), True),
        (Launch("uvicorn", "asyncio"), False),  # loops leave out IPv4
        (Launch("uvicorn", "uvloop"), False),
        (Launch("hypercorn", "asyncio", 0), True),
        (Launch("hypercorn", "asyncio", 2), True),
        (Launch("gunicorn", "asgi"), True),
    ],
    ids=str,
)
def test_it_answers_where_the_tls_port_does(files: Files, launch: Launch, over_ipv4: bool) -> None:
    https, plain_port = free_ports(2)
    host = "::" if launch.server == "uvicorn" else "[::]"
    command = launch.command(files.ecdsa, {"redirect_port": str(plain_port)}, host=host, port=https)
    ready, count = launch.readiness()
    with serve(command, ready=ready, count=count):
        await_port(https, host="::1")
        assert location(plain_port, "[::1]") == f"https://localhost:{https}/"
        assert answers("127.0.0.1", https) is over_ipv4
        assert answers("127.0.0.1", plain_port) is over_ipv4
        if over_ipv4:
            assert location(plain_port) == f"https://localhost:{https}/"


@BOTH_FAMILIES
@pytest.mark.parametrize("over_ipv4", [True, False])
def test_it_answers_where_a_socket_that_was_passed_on_does(files: Files, over_ipv4: bool) -> None:
    (plain_port,) = free_ports(1)
    redirect = f"--tls-redirect-port={plain_port}"
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=over_ipv4) as listening:
        line = asgi_tls("uvicorn", "facts_app:app", *pair(files), redirect, "--fd=0")
        with serve(line, ready="Uvicorn running on socket", stdin=listening.fileno()):
            assert location(plain_port, "[::1]") == f"https://localhost:{listening.getsockname()[1]}/"
            assert answers("127.0.0.1", plain_port) is over_ipv4


@BOTH_FAMILIES
@pytest.mark.parametrize("launch", [Launch("hypercorn", "asyncio", 0), Launch("gunicorn", "asgi")], ids=str)
@pytest.mark.parametrize("first", ["0.0.0.0", "", "127.0.0.1"])
def test_ports_of_both_families(files: Files, launch: Launch, first: str) -> None:
    """Where IPv4 has a bind of its own, its redirect leads there; one address of many has none beside all of them."""
    over_ipv4, over_ipv6, plain_port = free_ports(3)
    command = launch.command(
        files.ecdsa,
        {"redirect_port": str(plain_port)},
        f"--bind=[0:0::0]:{over_ipv6}",
        host=first,
        port=over_ipv4,
    )
    ready, _ = launch.readiness()
    with serve(command, ready=ready, count=2 if launch.server == "hypercorn" else 1):
        leads_to = over_ipv6 if first == "127.0.0.1" else over_ipv4
        assert location(plain_port) == f"https://localhost:{leads_to}/"
        assert location(plain_port, "[::1]") == f"https://localhost:{over_ipv6}/"


@BOTH_FAMILIES
def test_one_port_of_both_families(files: Files) -> None:
    """hypercorn's workers share it (SO_REUSEPORT)."""
    https, plain_port = free_ports(2)
    launch = Launch("hypercorn", "asyncio", 2)
    own = {"redirect_port": str(plain_port)}
    command = launch.command(files.ecdsa, own, f"--bind=[::]:{https}", host="0.0.0.0", port=https)
    with serve(command, ready="Running on https", count=4):
        assert {location(plain_port, host) for host in ("127.0.0.1", "[::1]")} == {f"https://localhost:{https}/"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--port=0", "--tls-redirect-port=8080"], "a port that the system chooses. Set --tls-public-port to"),
        (["--uds=/tmp/x", "--tls-redirect-port=8080"], "a Unix socket. Set --tls-public-port to the port"),
        (["--port=8443", "--tls-redirect-port=8443"], "--tls-redirect-port is 8443, and so is the TLS port. Choose"),
        (["--port=80000", "--tls-redirect-port=8080"], "Error: --port is 80000. Ports are numbers from 1 to 65535."),
        (["--port=-1"], "Error: --port is -1. Ports are numbers from 1 to 65535."),
        (["--bind=[::1]:80000"], "Error: the port of --bind is 80000. Ports are numbers"),
        (["--bind=127.0.0.1:0", "--insecure-bind=127.0.0.1:80000"], "Error: the port of --insecure-bind is 80000."),
        (
            ["--port=8443", "--tls-metrics=0.0.0.0:8443"],
            "--tls-metrics is 0.0.0.0:8443, and 8443 is the server's own port",
        ),
        (
            ["--bind=[::1]:0", "--insecure-bind=:99", "--tls-metrics=:99"],
            "127.0.0.1:99, and 99 is the server's own port",
        ),
        (
            ["--port=8443", "--tls-redirect-port=8080", "--tls-metrics=:8080"],
            "--tls-metrics is 127.0.0.1:8080, and 8080 is --tls-redirect-port. Choose another port for the metrics",
        ),
        (["--port=8443", "--tls-redirect-port=http"], "--tls-redirect-port is 'http'. Set it to a port from 1"),
        (["--port=8443", "--tls-redirect-port=0"], "--tls-redirect-port is '0'. Set it to a port from 1"),
        (["--port=8443", "--tls-redirect-webroot=/tmp"], "--tls-redirect-webroot is set without --tls-redirect-port"),
        (
            ["--tls-plain-http=reject", "--port=8443", "--tls-public-port=443"],
            "--tls-public-port is set without --tls-redirect-port",
        ),
        (
            ["--port=8443", "--tls-redirect-port=8080", "--tls-redirect-webroot=/nonexistent/acme"],
            "--tls-redirect-webroot is /nonexistent/acme, which is not a directory. Create it",
        ),
        (
            ["--bind=fd://web", "--tls-redirect-port=8080"],
            "--bind is 'fd://web'. Write fd:// and the number of a descriptor",
        ),
        (["--fd=99", "--tls-redirect-port=8080"], "file descriptor 99 is not a socket: Bad file descriptor. Pass on"),
    ],
)
def test_a_plain_port_that_cannot_be(files: Files, options: Sequence[str], says: str) -> None:
    server = "hypercorn" if options[0].startswith("--bind") else "uvicorn"
    lines = [asgi_tls(server, "facts_app:app", *pair(files, server), *options)]
    others: list[tuple[str, ...]] = []
    if "8443" in options[-1]:
        others = [("hypercorn", "--bind=127.0.0.1:8443", options[1]), ("gunicorn", "--bind=127.0.0.1:8443", options[1])]
    elif options[0].endswith(":80000"):
        others = [("gunicorn", options[0])]
    lines += [asgi_tls(name, "facts_app:app", *pair(files, name), *own) for name, *own in others]
    for line in lines:
        status, text = here(line)
        assert status == 3
        assert says in text
        assert "Traceback" not in text


def test_a_port_that_is_taken(files: Files) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for line in (
            asgi_tls("uvicorn", "facts_app:app", *pair(files), "--port=8443", f"--tls-redirect-port={port}"),
            asgi_tls("uvicorn", "facts_app:app", *pair(files), f"--port={port}"),
            asgi_tls("hypercorn", "facts_app:app", *pair(files, "hypercorn"), f"--bind=127.0.0.1:{port}"),
            asgi_tls(
                "hypercorn",
                "facts_app:app",
                *pair(files, "hypercorn"),
                f"--insecure-bind=127.0.0.1:{port}",
                f"--bind=127.0.0.1:{free_ports(1)[0]}",
            ),
        ):
            status, text = here(line)
            assert status == 3
            assert f"Error: cannot listen on 127.0.0.1:{port}: Address already in use. Stop the program" in text
            assert "Traceback" not in text


@BOTH_FAMILIES
def test_a_port_that_is_taken_over_ipv4(files: Files) -> None:
    """A server that takes both at `::` cannot have it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port, (https,) = taken.getsockname()[1], free_ports(1)
        for line, where in (
            (asgi_tls("uvicorn", "facts_app:app", *pair(files), "--host=::", f"--port={port}", "--workers=2"), "[::]"),
            (asgi_tls("hypercorn", "facts_app:app", *pair(files, "hypercorn"), f"--bind=[::]:{port}"), "[::]"),
            (asgi_tls("gunicorn", "facts_app:app", *pair(files, "gunicorn"), f"--bind=[::]:{port}"), "[::]"),
            (
                asgi_tls(
                    "hypercorn",
                    "facts_app:app",
                    *pair(files, "hypercorn"),
                    f"--bind=[::]:{https}",
                    f"--tls-redirect-port={port}",
                ),
                "0.0.0.0",
            ),
            (asgi_tls("uvicorn", "facts_app:app", *pair(files), f"--tls-metrics=[::]:{port}"), "[::]"),
        ):
            status, text = here(line)
            assert status == 3, text
            assert f"Error: cannot listen on {where}:{port}: Address already in use. Stop the program" in text
            assert "Traceback" not in text
        alone = asgi_tls("uvicorn", "facts_app:app", *pair(files), "--host=::", f"--port={port}")
        with serve(alone, ready="Uvicorn running on"):
            await_port(port, host="::1")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (
            {"ASGI_TLS_REDIRECT_PORT": "8080"},
            "ASGI_TLS_REDIRECT_PORT is set, and {server} cannot open that port. Use `asgi-tls {server}`",
        ),
        (
            {"ASGI_TLS_REDIRECT_WEBROOT": "/tmp"},
            "ASGI_TLS_REDIRECT_WEBROOT is set without ASGI_TLS_REDIRECT_PORT. Use `asgi-tls {server}` with "
            "ASGI_TLS_REDIRECT_PORT, or remove ASGI_TLS_REDIRECT_WEBROOT.",
        ),
        (
            {"ASGI_TLS_METRICS": "127.0.0.1:8443"},
            "ASGI_TLS_METRICS is 127.0.0.1:8443, and 8443 is the server's own port",
        ),
        (
            {"ASGI_TLS_METRICS": "127.0.0.1:8444"},
            "ASGI_TLS_METRICS is 127.0.0.1:8444, and 8444 is the server's own port",
        ),
        ({"ASGI_TLS_METRICS": "192.0.2.1:9464"}, "cannot listen on 192.0.2.1:9464: Cannot assign requested address"),
    ],
)
@pytest.mark.parametrize("server", ["hypercorn", "gunicorn"])
def test_commands_of_the_servers_check_what_ours_check(
    files: Files, server: str, settings: dict[str, str], says: str
) -> None:
    files_of = {"ASGI_TLS_CERTFILE": str(files.ecdsa.certfile), "ASGI_TLS_KEYFILE": str(files.ecdsa.keyfile)}
    line = [sys.executable, "-m", server, "-c", f"python:asgi_tls.servers.{server}", "--bind=127.0.0.1:8443"]
    line.append("--insecure-bind=127.0.0.1:8444" if server == "hypercorn" else "--bind=127.0.0.1:8444")
    status, text = run([*line, "facts_app:app"], env={**settings, **files_of})
    assert status == 3
    assert says.format(server=server) in text


def test_silent_connections_leave_descriptors_for_the_tls_port(files: Files) -> None:
    """The process may have 160 of them, and would have none left with 140 silent connections."""
    https, plain_port = free_ports(2)
    allow_descriptors(1000)
    redirect = {"redirect_port": str(plain_port)}
    line = Launch("uvicorn", "asyncio").command(files.ecdsa, redirect, port=https)
    with serve(["sh", "-c", 'ulimit -n 160; exec "$@"', "sh", *line], ready="Uvicorn running") as server:
        await_port(plain_port)
        with silent(plain_port, 140):
            assert connect(server.port, client(ca=files.ca_text)).protocol == "TLSv1.3"
            assert location(plain_port) == f"https://localhost:{https}/"
        assert "cannot accept" not in server.text


@contextlib.contextmanager
def serving(limit: float = plain.LIMIT) -> Iterator[int]:
    (sock,) = plain.listening(Address("127.0.0.1", 0))
    port: int = sock.getsockname()[1]
    with plain.in_thread([(sock, redirect_app(hosts=["site.test"]))], limit=limit):
        yield port


def test_a_connection_has_a_limit_of_time_however_it_trickles() -> None:
    with serving(limit=0.3) as port, silent(port, 3) as sockets:
        for sock in sockets[:2]:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: ")
        assert closed(sockets, 10) == 3


def test_a_client_that_connects_in_the_moment_of_the_end_is_no_failure() -> None:
    """asyncio's `sock_accept` would log InvalidStateError."""
    failures: list[dict[str, Any]] = []

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
        (sock,) = plain.listening(Address("127.0.0.1", 0))
        address = sock.getsockname()
        serving = asyncio.ensure_future(plain.serve([(sock, redirect_app(hosts=["site.test"]))]))
        _, writer = await asyncio.open_connection(*address)  # so it accepts
        serving.cancel()
        with socket.create_connection(address, timeout=60):
            await asyncio.wait([serving])
        writer.close()

    asyncio.run(run())
    assert not failures


def test_a_client_that_resets_its_connection_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    """By then nobody can tell its address; anybody could fill the log."""
    with serving() as port:
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.sendall(b"GET / HTTP/1.1\r\nHost: site.test\r\n\r\n")
        assert location(port, name="site.test") == "https://site.test/"
    assert not [each for each in caplog.records if each.name != "httpx"]  # which asks for the location


def test_one_connection_too_many_closes_the_oldest() -> None:
    with serving() as port, silent(port, plain.CONNECTIONS + 10) as sockets:
        assert closed(sockets[:10], 10) == 10
        assert closed(sockets[10:], 0) == 0


def test_a_connection_that_cannot_be_taken_over_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS, where a socket that was reset takes no option."""
    real, failures = asyncio.open_connection, iter([OSError(errno.EINVAL, "Invalid argument")])

    async def odd(**how: Any) -> Any:
        if error := next(failures, None):
            raise error
        return await real(**how)

    monkeypatch.setattr(asyncio, "open_connection", odd)
    with serving() as port:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
            assert sock.recv(1) == b""
        assert location(port, name="site.test") == "https://site.test/"


def names(*found: str) -> ServerTLS:
    pair = PKI().leaf(san_names=tuple(map(x509.DNSName, found)))
    return ServerTLS(PEMData(pair.chain_pem, pair.key_pem), listeners=[])


def test_names_that_no_client_accepts_are_redirected_to_by_nobody() -> None:
    """`*` alone would be any host."""
    tls = names("*", "*.com", "web*.other.test", "my host", "192.0.2.1", "site.test", "*.site.test")
    (port,) = free_ports(1)
    found = plain.listeners({"redirect_port": port}, tls, [Address("127.0.0.1", 8443)])
    with plain.in_thread(found):
        assert location(port, name="site.test") == "https://site.test:8443/"
        assert location(port, name="a.site.test") == "https://a.site.test:8443/"
        for other in ("evil.test", "evil.com", "webx.other.test", "b.a.site.test", "192.0.2.1"):
            assert httpx.get(f"http://127.0.0.1:{port}/", headers={"Host": other}).status_code == 400
    with pytest.raises(ConfigurationError, match="no certificate has a host name that clients accept"):
        plain.listeners({"redirect_port": port}, names("*"), [Address("127.0.0.1", 8443)])


@pytest.mark.parametrize(
    ("request_bytes", "status", "headers"),
    [
        (b"GET /x?y HTTP/1.1\r\nHost: site.test\r\n\r\n", 308, b"location: https://site.test/x?y"),
        (b"GET http://site.test/x HTTP/1.1\r\nHost: site.test\r\n\r\n", 308, b"location: https://site.test/x"),
        (b"HEAD /x HTTP/1.1\r\nHost: site.test\r\n\r\n", 308, b"location: https://site.test/x"),
        (b"GET /x HTTP/1.0\r\nHost: site.test\r\n\r\n", 308, b"location: https://site.test/x"),
        (b"POST / HTTP/1.1\r\nHost: site.test\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200_000, 308, b"location:"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, b"connection: close"),
        (b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 400, b"connection: close"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, b"connection: close"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", 431, b"connection: close"),
    ],
)
def test_requests(request_bytes: bytes, status: int, headers: bytes) -> None:
    with serving() as port, socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
        with contextlib.suppress(ConnectionError):
            sock.sendall(request_bytes)
        answer = b""
        while chunk := sock.recv(65536):
            answer += chunk
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.split()[1] == b"%d" % status
        assert headers in head.replace(b"Connection", b"connection")
        assert b"date: " in head
        assert not (request_bytes.startswith(b"HEAD") and body)


def test_addresses_of_a_host_and_what_cannot_be() -> None:
    sockets = bound(Address("localhost", 0))
    assert "127.0.0.1" in {sock.getsockname()[0] for sock in sockets}
    for sock in sockets:
        sock.close()
    for host, says in (
        ("192.0.2.1", r"cannot listen on 192\.0\.2\.1:8443: .*\. Choose an address that this machine has\."),
        ("2001:db8::1", r"cannot listen on \[2001:db8::1\]:8443: .*\. Choose an"),
        ("a..b", r"cannot listen on a\.\.b:8443: it is not a host name\. Choose another address\."),
        ("nosuch.invalid", r"cannot listen on nosuch\.invalid:8443: .*\. Choose another address or port\."),
    ):
        with pytest.raises(ConfigurationError, match=says):
            bound(Address(host, 8443))


def test_where_a_server_listens_by_its_own_settings() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        number, inherited = sock.fileno(), Address("127.0.0.1", sock.getsockname()[1], is_bound=True)
        binds = ["127.0.0.1:8443", "[::1]:443", "example.com", "unix:/run/app.sock", f"fd://{number}"]
        v4, v6, named = Address("127.0.0.1", 8443), Address("::1", 443), Address("example.com", 8000)
        assert of_hypercorn(binds) == [v4, v6, named, inherited]
        assert of_gunicorn([("::1", 443), "/run/app.sock", number]) == [v6, inherited]
        for own, found in (
            ({"host": "127.0.0.1", "port": 8443, "uds": None, "fd": None}, [v4]),
            ({"host": "127.0.0.1", "port": 8443, "uds": "/run/app.sock", "fd": None}, []),
            ({"host": "127.0.0.1", "port": 8443, "uds": None, "fd": number}, [inherited]),
        ):
            assert of_uvicorn(own, by_loop=False) == found
