"""A FastAPI application that shows the TLS connection it was reached over. Copy it, and start from here."""

from __future__ import annotations

import html
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse

from asgi_tls import TLSMiddleware
from asgi_tls.middleware.connection import tls_connection

app = FastAPI(title="asgi_tls demo")
# Redirects to https, security headers, early data: put your own names here.
app.add_middleware(TLSMiddleware, hosts=["localhost", "127.0.0.1", "[::1]"], https_port=8443, content="web")

PAGE = (Path(__file__).parent / "page.html").read_text(encoding="utf-8")


@app.get("/tls")
def tls(request: Request) -> dict[str, Any]:
    """What this connection negotiated; nulls over plain HTTP."""
    connection = tls_connection(request.scope)
    return {
        "protocol": connection and connection.protocol,
        "cipher": connection and connection.cipher,
        "group": connection and connection.group,
        "alpn": connection and connection.alpn,
        "sni": connection and connection.server_name,
        "resumed": connection and connection.resumed,
        "server": server_software(),
    }


@app.get("/", response_class=HTMLResponse)
def page(request: Request) -> str:
    """The same for people."""
    facts = tls(request)
    rows = "".join(
        f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(text_of(value))}</dd></div>"
        for name, value in facts.items()
    )
    fields = {"{rows}": rows, "{protocol}": text_of(facts["protocol"]), "{nonce}": request.state.csp_nonce}
    text = PAGE
    for placeholder, value in fields.items():
        text = text.replace(placeholder, value)
    return text


@app.get("/healthz")
def healthz() -> dict[str, str]:
    """For load balancers."""
    return {"status": "ok"}


def text_of(value: object) -> str:
    """A value as a person reads it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "\u2013" if value is None else str(value)


def server_software() -> str:
    """The server that runs this application, with its version."""
    for name in ("gunicorn", "hypercorn", "uvicorn"):
        if name in sys.modules:
            return f"{name} {metadata.version(name)}"
    return "unknown"
