"""What programs say of themselves, in the words of their releases."""

from __future__ import annotations

from pathlib import Path

import pytest

from asgi_tls.cli.installed import Installed, installed

NGINX = "nginx version: nginx/1.22.1\nbuilt with OpenSSL 3.0.22 25 Aug 2026 (running with OpenSSL 3.0.19 27 Jan 2026)"
HAPROXY = "HAProxy version 3.2.26-1 2026/10/14\nRunning on SSL library version : "

SAYINGS = [
    ("nginx", NGINX, Installed("1.22.1", "3.0.19")),
    ("nginx", "nginx version: nginx/1.30.6\nbuilt by gcc 16.2.0\nbuilt with OpenSSL 3.6.5 29 Sep 2026\nTLS SNI support",
     Installed("1.30.6", "3.6.5")),
    ("nginx", "nginx version: nginx/1.27.1\nbuilt with LibreSSL 4.0.0", Installed("1.27.1", None)),
    ("haproxy", "HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/\n"
     "Built with OpenSSL version : OpenSSL 3.0.22 25 Aug 2026\nRunning on OpenSSL version : OpenSSL 3.0.19 27 Jan 2026",
     Installed("2.6.12-1+deb12u4", "3.0.19")),
    ("haproxy", f"{HAPROXY}OpenSSL 3.6.5 29 Sep 2026", Installed("3.2.26-1", "3.6.5")),
    ("haproxy", f"{HAPROXY}AWS-LC 1.50", Installed("3.2.26-1", None)),
    ("caddy", "2.6.2", Installed("2.6.2", None)),
    ("caddy", "v2.11.4 h1:XKxkPkmNaHAZhk3K8D6Ht5RSYJ2zh2oE=", Installed("2.11.4", None)),
    ("caddy", "unknown", None),
]  # fmt: skip


@pytest.mark.parametrize(("program", "says", "found"), SAYINGS)
def test_what_they_say(
    program: str, says: str, found: Installed | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / program
    path.write_text(f"#!/bin/sh\ncat >&2 <<'END'\n{says}\nEND\n", encoding="utf-8")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert installed(program) == found


def test_a_program_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "caddy").write_text("no program", encoding="utf-8")
    (tmp_path / "caddy").chmod(0o755)
    assert installed("caddy") is None
    assert installed("openssl") is None
