"""The demo in Chromium: trusted through the local CA alone, alive, renewed at the push of a button."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from demo import demo_served
from launch import Launch
from servers import asgi_tls, run

pytestmark = pytest.mark.system


def test_a_person_sees_it_all_without_a_warning(node: Any, tmp_path: Path) -> None:
    home = str(tmp_path / "asgi-tls")
    status, said = run(
        asgi_tls("ca", "install", "--store=nss", "--yes"), env={"ASGI_TLS_HOME": home, "HOME": str(tmp_path)}
    )
    assert status == 0, said
    pictures = Path(os.environ.get("SCREENSHOTS", tmp_path))
    with demo_served(Launch("uvicorn", "uvloop"), None, environ={"ASGI_TLS_HOME": home}) as server:
        found = node.run("demo.mjs", f"https://localhost:{server.port}/", str(pictures), HOME=str(tmp_path))
    assert found["issuer"].startswith("asgi-tls local CA")
    assert "connected" in found["mine"]
    assert "TLSv1.3" in found["mine"]
    assert "127.0.0.1 (you, here)" in found["mine"]
    assert found["before"] != found["after"] == found["elsewhere"]["serial"]
    assert found["sameDocument"]
    assert "New connections get this certificate" in found["said"]
    assert found["before"] in found["said"]
    assert (found["console"], found["violations"], found["accessibility"]) == ([], [], [])
    assert found["widths"] == {
        "400-light": 400,
        "400-dark": 400,
        "1280-light": 1280,
        "1280-dark": 1280,
        "400-renewed": 400,
    }
    assert found["words"] == ["alpn", "sni", "resumed"]
    assert len(list(pictures.glob("*.png"))) >= 5
