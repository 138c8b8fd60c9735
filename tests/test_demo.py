"""The demo application, as the wheel ships it: under each server, by the commands that its README gives."""

from __future__ import annotations

import ast
import asyncio
import html
import json
import os
import re
import shlex
import shutil
import signal
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from demo import DEMO, demo_served
from fake_ca import FakeCA, page
from files import Files
from handshakes import client, connect
from launch import Launch, split
from servers import Server, asgi_tls, serve

from asgi_tls import ACME, create_client_context
from asgi_tls.events import ACMEEvent, CertificateLoadedEvent, ClientErrorEvent, Event, SessionEvent
from asgi_tls.renewal.acme.manager import Manager

# After the path to them, which `demo` sets.
import live_feed as demo_feed  # isort: skip

REPOSITORY = Path(__file__).parents[1]

PROMPT = 25
"""Seconds in which a server with an open feed ends: less than the 30 that gunicorn gives a worker."""


def browser(server: Server, ca: Path) -> httpx.Client:
    return httpx.Client(
        base_url=f"https://localhost:{server.port}", verify=create_client_context(cafile=ca), timeout=30
    )


@contextmanager
def watching(http: httpx.Client) -> Iterator[Iterator[dict[str, Any]]]:
    """The feed's events, as a browser gets them."""
    with http.stream("GET", "/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield parsed(answer.iter_lines(), time.monotonic() + 30)


def parsed(lines: Iterator[str], deadline: float) -> Iterator[dict[str, Any]]:
    for line in lines:  # the heartbeat is a line as well, so the deadline is looked at
        assert time.monotonic() < deadline
        if line.startswith("data: "):
            yield json.loads(line[6:])


LAUNCHES = [
    Launch("uvicorn", "asyncio"),
    Launch("uvicorn", "uvloop"),
    Launch("hypercorn", "asyncio", 0),  # in one process
    Launch("hypercorn", "uvloop", 1),  # a parent and its worker
    Launch("gunicorn", "asgi", 2),
]
QUICK = {"uvicorn-uvloop-1", "hypercorn-asyncio-0", "hypercorn-uvloop-1", "gunicorn-asgi-2"}


@pytest.mark.parametrize("launch", split(LAUNCHES, QUICK), ids=str)
def test_under_each_server_it_tells_the_connection_and_its_handshake_and_ends_with_a_feed_open(
    files: Files, tmp_path: Path, launch: Launch
) -> None:
    home = tmp_path / "home"
    with (
        demo_served(launch, files.ecdsa, {"groups": "P-384:X25519"}, environ={"ASGI_TLS_HOME": str(home)}) as server,
        browser(server, files.ca) as http,
    ):
        facts = http.get("/tls").json()
        assert facts.pop("server").startswith(f"{launch.server} ")
        assert facts == {
            "protocol": "TLSv1.3",
            "cipher": facts["cipher"],
            "group": "P-384",
            "alpn": "http/1.1",
            "sni": "localhost",
            "resumed": False,
        }
        look_at_the_page(http)
        assert http.get("/healthz").json() == {"status": "ok"}
        hsts = "strict-transport-security"
        assert http.get("/tls", headers={"Host": "example.com"}).headers[hsts].startswith("max-age=63072000")
        assert hsts not in http.get("/tls").headers  # what is developed next on localhost may speak plain HTTP
        refused = http.post("/certificate/renew", headers={"Origin": f"https://localhost:{server.port}"})
        assert refused.status_code == 409
        assert refused.json()["detail"].startswith("Only a certificate of the local CA")
        assert not home.exists()
        with watching(http) as events:
            # The handshake of this very connection, though it was made before anybody watched.
            session = next(event for event in events if event.get("mine"))
            assert session["event"] == "tls_session"
            assert session["address"] == "127.0.0.1"
            assert "TLSv1.3" in session["text"]
            assert "P-384" in session["text"]
            if launch.workers < 2:  # with several, another one may take it
                with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"):
                    connect(server.port, client(maximum=ssl.TLSVersion.TLSv1_2, ciphers="AES128-SHA"), path=None)
                failure = next(event for event in events if event["event"] == "tls_client_error")
                assert (failure["code"], failure["text"]) == ("NO_SHARED_CIPHER", "alert sent: handshake_failure")
                assert "no cipher suite in common" in http.get(f"/explain/{failure['code']}").text.lower()
            server.process.send_signal(signal.SIGTERM)
            with suppress(*([httpx.RemoteProtocolError] if cuts(launch) else [])):
                for _ in events:  # until the server ends it; a browser then closes as well
                    pass
        http.close()
        server.process.wait(PROMPT)
    assert cuts(launch) or "Traceback" not in server.text


def cuts(launch: Launch) -> bool:
    """hypercorn tells its workers by no signal: they cut the feed when hypercorn's patience is over, and say so."""
    return launch.server == "hypercorn" and launch.workers > 0


def look_at_the_page(http: httpx.Client) -> None:
    page = http.get("/")
    assert "Connected with <b>TLSv1.3</b>" in page.text
    assert "P-384" in page.text
    assert http.get("/certificate").json()["serial"] in page.text
    assert 'type="button" hidden' in page.text  # no development certificate, no button
    nonce = re.search(r"script-src 'self' 'nonce-([^']+)'", page.headers["content-security-policy"])
    assert nonce is not None
    assert f'<style nonce="{nonce[1]}">' in page.text
    assert f'<script nonce="{nonce[1]}">' in page.text
    assert "$" not in page.text


def test_the_button_makes_the_development_certificate_again(tmp_path: Path) -> None:
    ca = tmp_path / "ca/ca.pem"
    with (
        demo_served(Launch("uvicorn", "uvloop"), None, environ={"ASGI_TLS_HOME": str(tmp_path)}) as server,
        browser(server, ca) as http,
        browser(server, ca) as other,
    ):
        before = http.get("/certificate").json()
        assert before["names"] == ["localhost", "127.0.0.1", "::1"]
        assert 89 < before["days_left"] <= 90
        assert 0 <= before["used_percent"] < 1
        assert 'type="button" >' in http.get("/").text
        own = f"https://localhost:{server.port}"
        for headers in REFUSED:
            headers = {name: value.replace("OWN", own) for name, value in headers.items()}
            refused = http.post("/certificate/renew", headers=headers)
            assert refused.status_code == 403, headers
            assert len(refused.json()["detail"]) > 40
        assert http.get("/certificate/renew").status_code == 405
        renewed = http.post("/certificate/renew", headers={"Origin": own, "Sec-Fetch-Site": "same-origin"}).json()
        assert renewed["serial"] != before["serial"]
        # This connection goes on with what it was made with, and may ask again; another one gets the new one.
        assert http.get("/certificate").json() == {**before, **moving(http.get("/certificate").json())}
        assert other.get("/certificate").json()["serial"] == renewed["serial"]
        again = http.post("/certificate/renew", headers={"Sec-Fetch-Site": "same-origin"}).json()
        assert len({before["serial"], renewed["serial"], again["serial"]}) == 3
        with watching(http) as events:
            loaded = (each["fingerprint"] for each in events if each["event"] == "tls_certificate_loaded")
            # That of the start comes first where the application heard it already.
            assert (
                next(each for each in loaded if each != before["fingerprint_sha256"]) == renewed["fingerprint_sha256"]
            )
            assert next(loaded) == again["fingerprint_sha256"]


REFUSED = [
    {},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "same-site", "Origin": "OWN"},
    {"Sec-Fetch-Site": "same-origin", "Origin": "https://localhost"},
    {"Origin": "OWN", "Host": "www.example.com"},
    {"Origin": "OWN", "X-Forwarded-For": "192.0.2.1"},
]


def moving(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: facts[name] for name in ("days_left", "used_percent")}


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
def test_make_demo_serves_it(tmp_path: Path) -> None:
    """The recipe's last line, with this environment in the place of the one that make would install."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # of `make test`
    dry_run = ["make", "--no-print-directory", "--dry-run", "demo"]
    make = subprocess.run(dry_run, cwd=REPOSITORY, env=outside, capture_output=True, text=True, check=True)
    line = make.stdout.splitlines()[-1]
    command = line.replace(".venv/bin/asgi-tls", " ".join(asgi_tls())).replace("--port 8443", "--port 0")
    assert command != line
    environment = {"ASGI_TLS_HOME": str(tmp_path)}
    with (
        serve(shlex.split(command), ready="Uvicorn running", cwd=REPOSITORY, env=environment) as server,
        browser(server, tmp_path / "ca/ca.pem") as http,
    ):
        assert http.get("/tls").json()["protocol"] == "TLSv1.3"


def test_me_knows_clients_by_their_certificates(files: Files) -> None:
    settings = {"client_ca": str(files.ca), "client_auth": "optional"}
    environ = {"APP_CLIENTS": "client.example"}
    with demo_served(Launch("uvicorn", "asyncio"), files.ecdsa, settings, environ=environ) as server:
        answers = {}
        for name, pair in {"nobody": None, "client": files.client, "alice": files.nameless_client}.items():
            context = create_client_context(cafile=files.ca)
            if pair is not None:
                context.load_cert_chain(pair.certfile, pair.keyfile)
            answers[name] = httpx.get(f"https://localhost:{server.port}/me", verify=context)
    assert {name: answer.status_code for name, answer in answers.items()} == {
        "nobody": 401,
        "client": 200,
        "alice": 403,
    }
    assert answers["client"].json()["common_name"] == "client.example"
    assert answers["nobody"].json() == {"detail": "This needs a client certificate."}
    assert answers["alice"].json() == {"detail": "This client certificate is not allowed here."}


@pytest.mark.parametrize(
    ("ip", "visitor", "shown"),
    [
        ("192.0.2.77", ("198.51.100.1", 1), "192.0.2.0/24"),
        ("192.0.2.77", ("192.0.2.77", 1), "192.0.2.77"),
        ("192.0.2.77", None, "192.0.2.0/24"),
        ("::ffff:192.0.2.77", None, "192.0.2.0/24"),
        ("2001:db8:1:2:3::4", ("2001:db8:1:2:3::5", 1), "2001:db8:1::/48"),
        ("fe80::1%eth0", None, "fe80::/48"),
        ("127.0.0.1", None, "127.0.0.1"),
        ("::1", None, "::1"),
        (None, None, "unix socket"),
    ],
)
def test_whose_address_is_shown(ip: str | None, visitor: tuple[str, int] | None, shown: str) -> None:
    assert demo_feed.shown(ip, visitor) == shown
    event = ClientErrorEvent(ip=ip, port=7, code="NO_DATA", msg=f"from {ip}", alert=None, sni="secret.example")
    text = demo_feed.message(event, visitor)
    assert "secret.example" not in text
    if ip != shown and ip is not None:
        assert ip not in text


def session(number: int) -> SessionEvent:
    return SessionEvent(
        ip="192.0.2.1", port=number, protocol="TLSv1.3", cipher="TLS_AES_128_GCM_SHA256", group=None, alpn=None,
        sni=None, resumed=True, duration_ms=1.0,
    )  # fmt: skip


def test_the_feed_is_bounded_in_every_direction() -> None:
    async def scenario() -> None:
        feed = demo_feed.Feed()
        publish = feed._publish
        with feed.watching() as slow, feed.watching() as quick:
            for number in range(demo_feed.WAITING + 10):
                publish(session(number))
                event = await quick.get()
                assert isinstance(event, SessionEvent)
                assert event.port == number
            # Who does not read is ended, and what waited for them is gone.
            assert slow.get_nowait() is None
            assert slow.empty()
            texts = feed.messages(quick, None)
            publish(session(1000))
            told = [await anext(texts) for _ in range(2 + demo_feed.REMEMBERED)]
            assert len([text for text in told if text.startswith("data: ")]) == demo_feed.REMEMBERED + 1
            feed._end()
            with pytest.raises(StopAsyncIteration):
                await anext(texts)
        queues = [feed.watching() for _ in range(demo_feed.WATCHERS)]
        for each in queues:
            assert not feed.full
            each.__enter__()
        assert feed.full
        for each in queues:
            each.__exit__(None, None, None)
        assert not feed.full

    asyncio.run(scenario())


def test_silence_is_kept_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_feed, "HEARTBEAT", 0.01)

    async def scenario() -> None:
        feed = demo_feed.Feed()
        with feed.watching() as queue:
            texts = feed.messages(queue, None)
            assert await anext(texts) == "retry: 2000\n\n"
            assert (await anext(texts)).startswith(":")

    asyncio.run(scenario())


def test_one_that_takes_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_feed, "SLOWEST", 0.05)

    async def scenario() -> None:
        feed = demo_feed.Feed()
        stuck = asyncio.Event()

        async def receive() -> Any:
            await asyncio.sleep(60)

        async def send(message: Any) -> None:
            if message["type"] == "http.response.body":
                await stuck.wait()

        scope = {"type": "http", "asgi": {"spec_version": "2.3"}}
        await asyncio.wait_for(demo_feed.EventStream(feed, None)(scope, receive, send), 30)
        assert not feed._queues

    asyncio.run(scenario())


def test_every_event_can_be_shown() -> None:
    from asgi_tls import events

    kinds = [each for each in vars(events).values() if isinstance(each, type) and issubclass(each, Event)]
    assert CertificateLoadedEvent in kinds
    page = (DEMO / "page.html").read_text(encoding="utf-8")
    for name in ("tls_session", "tls_client_error", "tls_certificate_loaded", "tls_reload_failed", "tls_acme"):
        assert name in {each.event for each in kinds if each is not Event}
        assert name in page


def test_the_page_shows_the_order_and_the_next_renewal(tmp_path: Path) -> None:
    """Also of a certificate that was there before the server."""
    with FakeCA(tmp_path) as ca:
        ca.always["renewal-info"] = page(503)
        settings = {"directory": ca.ca.url, "ca_file": str(ca.ca_file), "storage": str(tmp_path / "storage")}
        made = ACME("www.example.test", **settings)  # type: ignore[arg-type]
        made.storage.check()
        Manager([made], tell=lambda _: None, is_over=lambda: False, nudge=lambda: None).order_now(force=False)
        options = {"acme": "www.example.test", **{f"acme_{name}": value for name, value in settings.items()}}
        with (
            demo_served(Launch("uvicorn", "uvloop"), None, options) as server,
            httpx.Client(base_url=f"https://localhost:{server.port}", verify=False, timeout=30) as http,
        ):
            with watching(http) as events:
                event = next(event for event in events if event["event"] == "tls_acme")
            shown = html.unescape(http.get("/").text)
    assert event["action"] == "scheduled"
    assert f'<dd id="renewal">{event["renewal"]}</dd>' in shown
    assert f'<dd id="order">{event["text"]}</dd>' in shown
    assert 'class="ordered" hidden' not in shown


def test_an_order_that_failed_is_shown_as_a_failure() -> None:
    event = ACMEEvent(
        names=("a.test",), action="failed", directory="letsencrypt", challenge="http-01", code="acme-caa", msg="No.",
        again_at=None, renew_at=None, severity="critical",
    )  # fmt: skip
    shown = json.loads(demo_feed.message(event, None).removeprefix("data: "))
    assert (shown["action"], shown["code"], shown["text"], shown["renewal"]) == ("failed", "acme-caa", "No.", None)


def test_it_uses_public_names_only() -> None:
    public = {
        "asgi_tls": {"TLSMiddleware", "create_client_context", "tls_connection"},
        "asgi_tls.middleware.identity": {"ClientIdentity", "require_client"},
        "asgi_tls.events": None,
        "asgi_tls.explain": {"explain"},
        "asgi_tls.dev.ca": {"LocalCA"},
        "asgi_tls.dev.renewal": {"is_development", "renew"},
    }
    for path in DEMO.parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("asgi_tls"):
                names = {alias.name for alias in node.names}
                allowed = public[str(node.module)]
                assert allowed is None or names <= allowed, f"{path.name} imports {names} of {node.module}"
                assert not any(name.startswith("_") for name in names)
            elif isinstance(node, ast.Import):
                assert not any(alias.name.startswith("asgi_tls") for alias in node.names)
            elif isinstance(node, ast.Attribute):
                assert not re.match(r"_[a-z]", node.attr) or (
                    isinstance(node.value, ast.Name) and node.value.id == "self"
                )
