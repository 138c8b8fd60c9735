"""The demo application, as the wheel ships it."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
from files import Files
from launch import LAUNCHES, Launch
from servers import serve

import asgi_tls
from asgi_tls import create_client_context

DEMO = "asgi_tls._demo_app.app:app"


@pytest.mark.parametrize(
    "launch", [each for each in LAUNCHES if each.workers == 1 and each.server != "gunicorn"], ids=str
)
def test_it_tells_the_connection_as_json_and_as_a_page(files: Files, launch: Launch) -> None:
    line, env = launch.command(files.ecdsa, {"groups": "P-384:X25519"})
    ready, count = launch.readiness()
    command = [DEMO if part == "facts_app:app" else part for part in line]
    with serve(command, ready=ready, count=count, env=env) as server:
        context = create_client_context(cafile=files.ca)
        with httpx.Client(base_url=f"https://localhost:{server.port}", verify=context) as http:
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
            page = http.get("/")
            assert "Connected with <b>TLSv1.3</b>" in page.text
            assert "P-384" in page.text
            nonce = re.search(r"style-src 'self' 'nonce-([^']+)'", page.headers["content-security-policy"])
            assert nonce is not None
            assert f'<style nonce="{nonce[1]}">' in page.text
            assert http.get("/healthz").json() == {"status": "ok"}
            assert http.get("/tls").headers["strict-transport-security"].startswith("max-age=63072000")


def test_it_uses_public_names_only() -> None:
    source = (Path(asgi_tls.__file__).parent / "_demo_app" / "app.py").read_text(encoding="utf-8")
    imported = set(re.findall(r"^from (asgi_tls\S*) import", source, re.MULTILINE))
    assert imported <= {"asgi_tls", "asgi_tls.middleware.connection"}
