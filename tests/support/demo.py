"""The demo application, as the wheel ships it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from launch import Launch
from servers import Server, serve

import asgi_tls
from asgi_tls import PEMFiles

DEMO = Path(asgi_tls.__file__).parent / "_demo_app" / "live"

# Its modules import each other by their plain names, as they do where they are copied to.
if str(DEMO) not in sys.path:
    sys.path.append(str(DEMO))


def demo_served(
    launch: Launch,
    pair: PEMFiles | None,
    settings: dict[str, str] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
) -> AbstractContextManager[Server]:
    """The demo under this server; without a pair, with a development certificate below ASGI_TLS_HOME."""
    line = launch.command(pair, settings or {})
    ready, count = launch.readiness()
    command = ["app:app" if part == "facts_app:app" else part for part in line]
    return serve(command, ready=ready, count=count, cwd=DEMO, env=environ)
