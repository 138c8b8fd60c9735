"""Real proxies with their exports, and an application behind them under uvicorn."""

from __future__ import annotations

import contextlib
import json
import shlex
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from asgi_servers import running_uvicorn
from behind_app import app, guarded
from files import Files
from proxies import PROXIES, Proxy, running, two_ports
from servers import asgi_tls, run, serve
from websocket import talk

from asgi_tls import PEMFiles

pytestmark = pytest.mark.system

HSTS = "strict-transport-security"
OURS = "max-age=63072000; includeSubDomains"
# Not 127.0.0.1, which is the proxy's: the two can be told apart.
CLIENT = "127.0.0.2"
LIES = {
    "X-Forwarded-For": "192.0.2.66",
    "X-Forwarded-Proto": "http",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Port": "6666",
    "X-Forwarded-Prefix": "/evil",
    "X-Forwarded-Ssl": "off",
    "X-Real-IP": "192.0.2.66",
    "Forwarded": "for=192.0.2.66;proto=http;host=evil.example",
}


def context(files: Files) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(files.ca))


@contextlib.contextmanager
def client(files: Files) -> Iterator[httpx.Client]:
    transport = httpx.HTTPTransport(verify=context(files), local_address=CLIENT)
    with httpx.Client(transport=transport, trust_env=False, timeout=20) as http:
        yield http


def trusting(application: Any) -> Any:
    return running_uvicorn(application, ws="websockets-sansio", proxy_headers=True, forwarded_allow_ips="127.0.0.1")


def said(proxy: Proxy, request: str) -> bytes:
    """Everything that the plain port answers to one request."""
    with socket.create_connection(("127.0.0.1", proxy.plain), timeout=60) as sock:
        sock.sendall(request.replace("\n", "\r\n").encode())
        return b"".join(iter(lambda: sock.recv(65536), b""))


def s_client(proxy: Proxy, *options: str, name: str | None = "localhost", stdin: str = "") -> str:
    named = ["-noservername"] if name is None else ["-servername", name]
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{proxy.tls}", *named]
    done = subprocess.run(
        [*command, "-CAfile", str(proxy.ca), *options],
        input=stdin, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


@pytest.fixture(scope="module", params=PROXIES)
def proxy(request: pytest.FixtureRequest, files: Files, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """The intermediate profile, every header, before an application that has no middleware."""
    directory = tmp_path_factory.mktemp(request.param)
    pair = PEMFiles(*files.pki.leaf("localhost").write(directory))
    with (
        trusting(app) as port,
        running(request.param, directory, files.ca, pair, "--headers=all", f"--upstream=127.0.0.1:{port}") as found,
    ):
        yield found


def test_the_plain_port_redirects_and_keeps_host_and_path(proxy: Proxy) -> None:
    done = subprocess.run(
        ["curl", "--silent", "--output", "-", "--dump-header", "-", f"http://localhost:{proxy.plain}/a%2Fb/c?x=1&y=%20"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    head = done.stdout.lower()
    assert head.startswith("http/1.1 308 ")
    assert f"location: https://localhost:{proxy.tls}/a%2fb/c?x=1&y=%20\n" in head.replace("\r", "")
    assert HSTS not in head


def test_an_absolute_target_is_no_way_to_another_host(proxy: Proxy) -> None:
    ours = said(proxy, "GET http://localhost/x HTTP/1.1\nHost: localhost\nConnection: close\n\n").lower()
    assert f"location: https://localhost:{proxy.tls}/x\r\n".encode() in ours
    other = said(proxy, "GET http://localhost/x HTTP/1.1\nHost: evil.example\nConnection: close\n\n").lower()
    location = other.partition(b"location: ")[2].partition(b"\r\n")[0]
    assert b"evil" not in location


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1"])
def test_the_plain_port_knows_no_other_host(proxy: Proxy, host: str) -> None:
    answer = said(proxy, f"GET / HTTP/1.1\nHost: {host}\nConnection: close\n\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"ocation:" not in answer


def test_acme_challenges_reach_the_application(proxy: Proxy) -> None:
    answer = said(
        proxy, "GET /.well-known/acme-challenge/token HTTP/1.1\nHost: localhost\nX-Forwarded-Proto: https\n"
        "Connection: close\n\n"
    )  # fmt: skip
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert HSTS.encode() not in head.lower()
    assert json.loads(body)["scheme"] == "http"


def test_the_application_sees_the_client_and_none_of_its_lies(proxy: Proxy, files: Files) -> None:
    with client(files) as http:
        seen = http.get(f"https://localhost:{proxy.tls}/", headers=LIES).json()
    assert (seen["scheme"], seen["client"]) == ("https", CLIENT)
    headers = [
        (name, value) for name, value in seen["headers"] if name.startswith(("x-forwarded", "forwarded", "x-re"))
    ]
    host = f"localhost:{proxy.tls}"
    assert sorted(headers) == [("x-forwarded-for", CLIENT), ("x-forwarded-host", host), ("x-forwarded-proto", "https")]
    assert [value for name, value in seen["headers"] if name == "host"] == [host]


def test_each_header_once_and_the_applications_own_wins(proxy: Proxy, files: Files) -> None:
    with client(files) as http:
        bare = http.get(f"https://localhost:{proxy.tls}/").headers
        own = http.get(f"https://localhost:{proxy.tls}/own").headers
        twice = http.get(f"https://localhost:{proxy.tls}/twice").headers
    assert bare.get_list(HSTS) == [OURS]
    assert bare.get_list("x-frame-options") == ["DENY"]
    assert bare.get_list("x-content-type-options") == ["nosniff"]
    assert bare.get_list("permissions-policy") == ["browsing-topics=(), camera=(), geolocation=(), microphone=()"]
    assert own.get_list(HSTS) == ["max-age=5"]
    assert own.get_list("x-frame-options") == ["SAMEORIGIN"]
    assert own.get_list("x-content-type-options") == ["nosniff"]
    # Said in the export: Caddy cannot join two into one.
    assert twice.get_list(HSTS) == (["max-age=5", "max-age=6"] if proxy.name == "caddy" else ["max-age=5"])


def test_websockets_pass(proxy: Proxy, files: Files) -> None:
    how = {"host": "127.0.0.1", "port": proxy.tls, "local_addr": (CLIENT, 0), "ssl": context(files)}
    word, _, seen = talk(f"wss://localhost:{proxy.tls}/ws", send="hello", **how).message.partition(" ")
    assert word == "hello"
    assert json.loads(seen)["client"] == CLIENT
    assert json.loads(seen)["scheme"] == "wss"


@pytest.mark.parametrize("version", ["1.1", "2"])
def test_http_2_and_1(proxy: Proxy, version: str) -> None:
    done = subprocess.run(
        ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_version}", "--cacert", str(proxy.ca),
         f"--http{version}", f"https://localhost:{proxy.tls}/"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout == version


@pytest.mark.parametrize("name", ["evil.example", "sub.localhost", None])
def test_unknown_names_get_no_handshake(proxy: Proxy, files: Files, name: str | None) -> None:
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    stranger.check_hostname, stranger.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", proxy.tls), timeout=60) as sock,
        pytest.raises(ssl.SSLError, match="(?i)alert|unrecognized name"),
    ):
        stranger.wrap_socket(sock, server_hostname=name)


def test_a_known_name_is_no_way_to_another_host(proxy: Proxy, files: Files) -> None:
    with client(files) as http:
        answer = http.get(f"https://localhost:{proxy.tls}/", headers={"Host": "evil.example"})
    assert answer.status_code == 421


def test_suites_and_groups_are_those_of_the_profile(proxy: Proxy) -> None:
    assert "New, TLSv1.2" in s_client(proxy, "-tls1_2")
    for suite in ("ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"):
        assert f"Cipher is {suite}" in s_client(proxy, "-tls1_2", "-cipher", suite)
    for suite in ("ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA", "ECDHE-ECDSA-AES128-CCM"):
        assert "Cipher is (NONE)" in s_client(proxy, "-tls1_2", "-cipher", f"{suite}:@SECLEVEL=0")
    assert "Cipher is (NONE)" in s_client(proxy, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
    for group, found in (("X25519", "X25519, 253 bits"), ("P-384", "ECDH, secp384r1, 384 bits")):
        assert f"Server Temp Key: {found}" in s_client(proxy, "-groups", group)
    for group in ("P-521", "X448"):
        assert "Cipher is (NONE)" in s_client(proxy, "-groups", group)


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_sessions_resume_and_take_no_early_data(proxy: Proxy, tmp_path: Path, version: str) -> None:
    session = str(tmp_path / "session")
    request = "GET / HTTP/1.1\nHost: localhost\nConnection: close\n\n".replace("\n", "\r\n")
    first = s_client(proxy, version, "-ign_eof", "-sess_out", session, stdin=request)
    assert "New, TLSv1" in first
    assert "Max Early Data: 0" in first or version == "-tls1_2"
    assert "Reused, TLSv1" in s_client(proxy, version, "-ign_eof", "-sess_in", session, stdin=request)


@pytest.mark.parametrize("program", PROXIES)
def test_modern_and_its_suites(program: str, files: Files, tmp_path: Path) -> None:
    """Nobody listens where the application should be: the proxy's own error page has the header as well."""
    options = ["--tls-profile=modern", "--tls-ciphersuites=TLS_AES_256_GCM_SHA384", "--hsts=max-age=300"]
    with running(program, tmp_path, files.ca, files.ecdsa, *options, "--upstream=127.0.0.1:1") as proxy:
        assert "Cipher is (NONE)" in s_client(proxy, "-tls1_2")
        assert "Cipher is TLS_AES_256_GCM_SHA384" in s_client(proxy, "-ciphersuites", "TLS_AES_256_GCM_SHA384")
        # This pair is for the address too, and a client that connects by address sends no name.
        assert "Cipher is (NONE)" in s_client(proxy, "-tls1_2", name=None)
        refused = "Cipher is (NONE)" in s_client(proxy, "-ciphersuites", "TLS_AES_128_GCM_SHA256")
        # Said in the export: Go always offers its three.
        assert refused == (program != "caddy")
        with client(files) as http:
            answer = http.get(f"https://localhost:{proxy.tls}/")
    assert answer.status_code in {502, 503}
    assert answer.headers.get_list(HSTS) == ["max-age=300"]


@pytest.mark.parametrize("program", PROXIES)
def test_the_middleware_behind_it_makes_no_loop(program: str, files: Files, tmp_path: Path) -> None:
    """It would redirect what it took for plain HTTP."""
    with (
        trusting(guarded) as port,
        running(program, tmp_path, files.ca, files.ecdsa, f"--upstream=127.0.0.1:{port}") as proxy,
        client(files) as http,
    ):
        answer = http.post(f"http://localhost:{proxy.plain}/x?y=z", follow_redirects=True)
    assert [each.status_code for each in answer.history] == [308]
    assert str(answer.url) == f"https://localhost:{proxy.tls}/x?y=z"
    assert answer.status_code == 200
    assert answer.json()["scheme"] == "https"
    assert answer.headers.get_list(HSTS) == [OURS]
    assert len(answer.headers.get_list("content-security-policy")) == 1
    assert answer.headers.get_list("x-frame-options") == ["DENY"]


@pytest.mark.parametrize("how", ["required", "optional"])
@pytest.mark.parametrize("program", PROXIES)
def test_client_certificates(program: str, how: str, files: Files, tmp_path: Path) -> None:
    options = [f"--client-ca={files.ca}", f"--client-auth={how}"]
    with (
        trusting(app) as port,
        running(program, tmp_path, files.ca, files.ecdsa, *options, f"--upstream=127.0.0.1:{port}") as proxy,
    ):
        url = f"https://localhost:{proxy.tls}/"
        known = context(files)
        known.load_cert_chain(files.client.certfile, files.client.keyfile)
        with httpx.Client(verify=known, trust_env=False) as http:
            assert http.get(url).status_code == 200
        # No name in the handshake is no way around it.
        request = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        assert ("HTTP/1.1 200" in s_client(proxy, "-ign_eof", stdin=request)) == (how == "optional")
        assert "HTTP/1.1 200" not in s_client(proxy, "-ign_eof", name=None, stdin=request)
        with httpx.Client(verify=context(files), trust_env=False) as http:
            if how == "optional":
                assert http.get(url).status_code == 200
            elif program == "nginx":  # which says it in HTTP
                assert http.get(url).status_code == 400
            else:
                with pytest.raises(httpx.TransportError, match="(?i)alert|certificate required"):
                    http.get(url)


@pytest.mark.parametrize("program", PROXIES)
def test_a_unix_socket_and_paths_with_every_character(program: str, files: Files, tmp_path: Path) -> None:
    directory = tmp_path / "a; b 'c' # %"
    pair = files.pki.leaf("www.example.com", "*.example.org").write(directory)
    path = directory / "app's.sock"
    listening = ["--uds", str(path), "--proxy-headers", "--forwarded-allow-ips", "*"]
    command = [sys.executable, "-m", "uvicorn", "behind_app:app", *listening]
    with (
        serve(command, ready="Uvicorn running on"),
        running(program, tmp_path, files.ca, PEMFiles(*pair), f"--upstream=unix:{path}") as proxy,
    ):
        for name in ("www.example.com", "any.example.org"):
            done = subprocess.run(
                ["curl", "--silent", "--show-error", "--cacert", str(files.ca), "--interface", CLIENT,
                 "--connect-to", f"{name}:443:127.0.0.1:{proxy.tls}", f"https://{name}/"],
                capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
            assert done.stdout, done.stderr
            seen = json.loads(done.stdout)
            assert (seen["scheme"], seen["client"]) == ("https", CLIENT)


@pytest.mark.parametrize("how", ["uvicorn", "hypercorn", "gunicorn"])
@pytest.mark.parametrize("over", ["port", "socket"])
def test_the_commands_for_the_application_are_right(how: str, over: str, files: Files, tmp_path: Path) -> None:
    upstream = f"unix:{tmp_path}/app.sock" if over == "socket" else f"127.0.0.1:{two_ports()[0]}"
    options = ["--host=localhost", f"--upstream={upstream}"]
    status, text = run(asgi_tls("export", "nginx", "--print-app", *options))
    assert status == 0
    (line,) = [line for line in text.splitlines() if line.startswith(f"{how} app:")]
    program, *arguments = shlex.split(line)
    named = {"app:app": "behind_app:guarded", "app:proxied": "behind_app:proxied"}
    command = [sys.executable, "-m", program, *(named.get(each, each) for each in arguments)]
    ready = {"uvicorn": "Uvicorn running on", "hypercorn": "Running on", "gunicorn": "ASGI server listening"}[how]
    with (
        serve(command, ready=ready),
        running("nginx", tmp_path, files.ca, files.ecdsa, *options) as proxy,
        client(files) as http,
    ):
        seen = http.get(f"http://localhost:{proxy.plain}/", follow_redirects=True)
    assert [each.status_code for each in (*seen.history, seen)] == [308, 200]
    assert seen.json()["scheme"] == "https"
    # Said with the commands: gunicorn takes the scheme alone.
    assert (seen.json()["client"] == CLIENT) == (how != "gunicorn")
    assert seen.headers.get_list(HSTS) == [OURS]
