"""A FastAPI application over TLS. Add your own routes below.

asgi-tls uvicorn app:app --port 8443
"""

from __future__ import annotations

import os
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse

from asgi_tls import TLSMiddleware, tls_connection

# The names that visitors type. In production: APP_HOSTS="www.example.com example.com", APP_HTTPS_PORT=443.
HOSTS = os.environ.get("APP_HOSTS", "localhost 127.0.0.1 [::1]").split()
HTTPS_PORT = int(os.environ.get("APP_HTTPS_PORT", "8443"))

app = FastAPI()
# Redirects http to https, adds HSTS and the other security headers, refuses unsafe early data.
app.add_middleware(TLSMiddleware, hosts=HOSTS, https_port=HTTPS_PORT, content="web")


@app.get("/", response_class=HTMLResponse)
def page() -> str:
    """The start page: replace it by your own."""
    return '<!doctype html><html lang="en"><title>It works</title><h1>It works, over TLS</h1><a href="/tls">Details</a>'


@app.get("/tls")
def tls(request: Request) -> dict[str, Any]:
    """What this connection has negotiated; null over plain HTTP."""
    connection = tls_connection(request.scope)
    names = ("protocol", "cipher", "group", "alpn", "server_name", "resumed")
    return {name: getattr(connection, name, None) for name in names}


@app.get("/healthz")
def healthz() -> dict[str, str]:
    """For load balancers."""
    return {"status": "ok"}
