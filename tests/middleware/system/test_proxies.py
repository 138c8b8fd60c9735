"""Behind a real nginx and a real HAProxy: TLS ends there, and plain HTTP comes here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from asgi_servers import KeyPair, running_hypercorn, running_uvicorn
from hypercorn.middleware import ProxyFixMiddleware
from ports import free_port

from asgi_tls.middleware import TLSMiddleware

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.system

HSTS = "strict-transport-security"
# Not 127.0.0.1, which is the proxy's: the two can be told apart.
CLIENT = "127.0.0.2"

NGINX = """
user root; pid {directory}/pid; error_log {directory}/error.log; worker_processes 1;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {directory}/b; proxy_temp_path {directory}/p;
  fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
  ssl_certificate {pair.certificate}; ssl_certificate_key {pair.key};
  ssl_protocols TLSv1.2 TLSv1.3; ssl_early_data on;
  proxy_set_header Host $http_host; proxy_set_header Early-Data $ssl_early_data;
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;
  server {{ listen 127.0.0.1:{tls} ssl; location / {{ proxy_pass http://127.0.0.1:{app}; }} }}
  server {{ listen 127.0.0.1:{plain}; location / {{ proxy_pass http://127.0.0.1:{app}; }} }}
}}
"""

HAPROXY = """
global
  maxconn 64
defaults
  mode http
  timeout connect 5s
  timeout client 10s
  timeout server 10s
  option forwardfor
frontend tls
  bind 127.0.0.1:{tls} ssl crt {directory}/both.pem
  http-request set-header X-Forwarded-Proto https
  default_backend app
frontend plain
  bind 127.0.0.1:{plain}
  http-request set-header X-Forwarded-Proto http
  default_backend app
backend app
  server app 127.0.0.1:{app}
"""


async def echo(scope: Any, receive: Any, send: Any) -> None:
    seen = {"scheme": scope["scheme"], "client": scope["client"][0], "method": scope["method"]}
    if b"early-data" in dict(scope["headers"]):
        seen["early"] = "marked"
    body = json.dumps(seen).encode()
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def uvicorn_app(app: Any, *, trusted: bool) -> Any:
    return running_uvicorn(app, proxy_headers=True, forwarded_allow_ips="127.0.0.1" if trusted else "192.0.2.1")


def hypercorn_app(app: Any, *, trusted: bool) -> Any:
    return running_hypercorn(ProxyFixMiddleware(app) if trusted else app)  # type: ignore[arg-type]


@contextmanager
def running_proxy(name: str, directory: Path, pair: KeyPair, **ports: int) -> Iterator[None]:
    """Both put themselves into the background as soon as they listen."""
    config = directory / "config"
    config.write_text({"nginx": NGINX, "haproxy": HAPROXY}[name].format(directory=directory, pair=pair, **ports))
    (directory / "both.pem").write_bytes(pair.certificate.read_bytes() + pair.key.read_bytes())
    pid_file = directory / "pid"
    command = {
        "nginx": ["nginx", "-e", str(directory / "error.log"), "-c", str(config)],
        "haproxy": ["haproxy", "-D", "-f", str(config), "-p", str(pid_file)],
    }[name]
    environment = {**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin"}
    subprocess.run(command, check=True, env=environment, timeout=20, capture_output=True)
    try:
        yield
    finally:
        # nginx writes its process id after it has returned.
        assert pid_file.read_text().strip()
        os.kill(int(pid_file.read_text().split()[0]), signal.SIGTERM)


@contextmanager
def behind(proxy: str, server: Any, directory: Path, pair: KeyPair, *, trusted: bool) -> Iterator[tuple[int, int]]:
    """The plain and the TLS port of a proxy in front of an application with TLSMiddleware."""
    tls, plain = free_port(), free_port()
    application = TLSMiddleware(echo, hosts=["localhost"], https_port=tls)
    with (
        server(application, trusted=trusted) as port,
        running_proxy(proxy, directory, pair, app=port, tls=tls, plain=plain),
    ):
        yield plain, tls


def client(pair: KeyPair) -> httpx.Client:
    transport = httpx.HTTPTransport(verify=pair.client_context(), local_address=CLIENT)
    return httpx.Client(transport=transport, follow_redirects=True, max_redirects=5, trust_env=False)


@pytest.mark.parametrize("server", [uvicorn_app, hypercorn_app])
@pytest.mark.parametrize("proxy", ["nginx", "haproxy"])
def test_behind_a_trusted_proxy(proxy: str, server: Any, tmp_path: Path, key_pair: KeyPair, caplog: Any) -> None:
    with behind(proxy, server, tmp_path, key_pair, trusted=True) as (plain, tls), client(key_pair) as http:
        direct = http.get(f"https://localhost:{tls}/")
        assert direct.json() == {"scheme": "https", "client": CLIENT, "method": "GET"}
        public = http.get(f"https://localhost:{tls}/", headers={"Host": "site.test"})
        assert public.headers.get_list(HSTS) == ["max-age=63072000; includeSubDomains"]
        assert HSTS not in direct.headers
        redirected = http.post(f"http://localhost:{plain}/x?y=z")
        assert [each.status_code for each in redirected.history] == [307]
        assert HSTS not in redirected.history[0].headers
        assert str(redirected.url) == f"https://localhost:{tls}/x?y=z"
        assert redirected.json() == {"scheme": "https", "client": CLIENT, "method": "POST"}
    assert [record for record in caplog.records if record.name == "asgi_tls"] == []


@pytest.mark.parametrize("server", [uvicorn_app, hypercorn_app])
@pytest.mark.parametrize("proxy", ["nginx", "haproxy"])
def test_behind_a_proxy_that_nobody_trusts(
    proxy: str, server: Any, tmp_path: Path, key_pair: KeyPair, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        behind(proxy, server, tmp_path, key_pair, trusted=False) as (_, tls),
        client(key_pair) as http,
        pytest.raises(httpx.TooManyRedirects),
    ):
        http.get(f"https://localhost:{tls}/")
    (warning,) = [record for record in caplog.records if record.name == "asgi_tls"]
    assert "127.0.0.1" in warning.getMessage()
    assert "--forwarded-allow-ips" in warning.getMessage()


def test_real_early_data_through_nginx(tmp_path: Path, key_pair: KeyPair) -> None:
    """A session of `openssl s_client`, resumed with a request in its first flight."""
    session = tmp_path / "session"
    with behind("nginx", uvicorn_app, tmp_path, key_pair, trusted=True) as (_, tls):

        def exchange(method: str, *arguments: str) -> str:
            request = tmp_path / "request"
            request.write_text(
                f"{method} / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
            early = "-early_data" in arguments
            command = ["openssl", "s_client", "-connect", f"127.0.0.1:{tls}", "-servername", "localhost", "-tls1_3"]
            command += ["-ign_eof", "-CAfile", str(key_pair.certificate), *arguments]
            return subprocess.run(
                command + ([str(request)] if early else []),
                input="" if early else request.read_text(),
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            ).stdout

        def early(method: str) -> str:
            # A ticket is good for one early flight; this connection also shows that the method as such is fine.
            assert "HTTP/1.1 200 OK" in exchange(method, "-sess_out", str(session))
            answer = exchange(method, "-sess_in", str(session), "-early_data")
            assert "Early data was accepted" in answer
            return answer

        assert "HTTP/1.1 200 OK" in early("GET")
        # nginx does not mark a request when the handshake was complete before it looked, as a busy machine may have
        # it: such a request is nobody's replay. Soon there is one that it marks.
        for _ in range(10):
            answer = early("POST")
            if "HTTP/1.1 425" in answer:
                break
            assert "HTTP/1.1 200 OK" in answer
            assert "marked" not in answer
        assert "HTTP/1.1 425" in answer
