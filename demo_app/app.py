"""A FastAPI application that shows its own TLS: the connection, the certificate, and every handshake as it happens.

    asgi-tls uvicorn app:app --port 8443

Copy it (`asgi-tls new DIR`), and start from here. The feed is in feed.py, the certificate in certificate.py.
"""

from __future__ import annotations

import html
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import metadata
from pathlib import Path
from string import Template
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse

import certificate
from asgi_tls import TLSMiddleware, tls_connection
from asgi_tls.middleware.identity import ClientIdentity, require_client
from feed import EventStream, Feed

# In production: DEMO_HOSTS="www.example.com example.com", DEMO_HTTPS_PORT=443.
HOSTS = os.environ.get("DEMO_HOSTS", "localhost 127.0.0.1 [::1]").split()
HTTPS_PORT = int(os.environ.get("DEMO_HTTPS_PORT", "8443"))
# Common names of the client certificates that /me lets in; without any, those of every client that was verified.
CLIENTS = os.environ.get("DEMO_CLIENTS", "").split()

PAGE = Template((Path(__file__).parent / "page.html").read_text(encoding="utf-8"))

feed = Feed()


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """While it serves, the application hears what happens at its TLS port."""
    with feed.open():
        yield


app = FastAPI(title="asgi_tls demo", lifespan=lifespan)
# Redirects to https, security headers with a nonce for the page, no unsafe early data.
app.add_middleware(TLSMiddleware, hosts=HOSTS, https_port=HTTPS_PORT, content="web")


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


@app.get("/certificate")
def certificate_of_connection(request: Request) -> dict[str, Any]:
    """The certificate that this connection was made with."""
    der = certificate.of_connection(request)
    if der is None:
        raise HTTPException(404, "This connection has no certificate: TLS ends elsewhere, or there is none.")
    return certificate.facts(der)


@app.post("/certificate/renew", dependencies=[Depends(certificate.refuse_others)])
async def renew_certificate(request: Request) -> dict[str, Any]:
    """Make the development certificate again; answers with the one that a new connection gets."""
    return await certificate.make_again(request, feed)


@app.get("/events")
async def events(request: Request) -> EventStream:
    """The live feed, as server-sent events. Each worker tells its own."""
    if feed.full:
        raise HTTPException(503, "Too many watch already.", {"Retry-After": "60"})
    return EventStream(feed, request.client and (request.client.host, request.client.port))


def is_welcome(client: ClientIdentity) -> bool:
    """Who may come in with a client certificate."""
    return not CLIENTS or client.common_name in CLIENTS


@app.get("/me")
def me(client: Annotated[ClientIdentity, Depends(require_client(is_welcome))]) -> dict[str, Any]:
    """Mutual TLS: who the client is, by its certificate. 401 without one, 403 for one that is not on the list."""
    return {
        "subject": client.subject,
        "common_name": client.common_name,
        "dns_names": client.dns_names,
        "emails": client.emails,
        "serial": client.serial_number,
        "fingerprint_sha256": client.fingerprint_sha256,
    }


@app.get("/", response_class=HTMLResponse)
def page(request: Request) -> str:
    """The same for people."""
    connection, der = tls(request), certificate.of_connection(request)
    facts = {} if der is None else certificate.facts(der)
    values = {
        "nonce": request.state.csp_nonce,
        "protocol": text_of(connection["protocol"]),
        "serial": text_of(facts.get("serial")),
        "names": ", ".join(facts.get("names", ())) or text_of(None),
        "issuer": text_of(facts.get("issuer")),
        "until": facts.get("not_after", "")[:10],
        "used": text_of(facts.get("used_percent", 0)),
        "days": text_of(facts.get("days_left")),
        "without": "hidden" if der is None else "",
        "renewable": "" if certificate.may_renew(request) else "hidden",
    }
    rows = "".join(
        f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(text_of(value))}</dd></div>"
        for name, value in connection.items()
    )
    return PAGE.substitute({name: html.escape(value) for name, value in values.items()}, rows=rows)


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
