"""A FastAPI application that shows its own TLS: the connection, the certificate, and every handshake as it happens.

    asgi-tls uvicorn app:app --port 8443

Copy it by `asgi-tls new DIR --example live`. The feed is in live_feed.py, the certificate in live_certificate.py.
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

import live_certificate
from asgi_tls import TLSMiddleware, tls_connection
from asgi_tls.explain import explain
from asgi_tls.middleware.identity import ClientIdentity, require_client
from live_feed import EventStream, Feed

# In production: APP_HOSTS="www.example.com example.com", APP_HTTPS_PORT=443.
HOSTS = os.environ.get("APP_HOSTS", "localhost 127.0.0.1 [::1]").split()
HTTPS_PORT = int(os.environ.get("APP_HTTPS_PORT", "8443"))
# The common names of clients that /me accepts; without any, every client with a verified certificate.
CLIENTS = os.environ.get("APP_CLIENTS", "").split()

PAGE, EXPLAINED = (
    Template((Path(__file__).parent / name).read_text(encoding="utf-8")) for name in ("page.html", "explained.html")
)
# Help for the rows whose name is an acronym or a term of TLS.
HELP = {
    "alpn": "the application protocol, negotiated in the handshake",
    "sni": "the host name that the client asked for",
    "resumed": "whether an earlier session was resumed, without a full handshake",
}

feed = Feed()


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Receive the events of the TLS port while the application runs."""
    with feed.open():
        yield


app = FastAPI(title="asgi_tls demo", lifespan=lifespan)
# Redirects http to https, adds the security headers with a nonce for the page, refuses unsafe early data.
app.add_middleware(TLSMiddleware, hosts=HOSTS, https_port=HTTPS_PORT, content="web")


@app.get("/tls")
def tls(request: Request) -> dict[str, Any]:
    """What this connection has negotiated; null over plain HTTP."""
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
    """The certificate that the server sent on this connection."""
    der = live_certificate.of_connection(request)
    if der is None:
        raise HTTPException(404, "The certificate is not known: this is plain HTTP, or a proxy terminates TLS.")
    return live_certificate.facts(der)


@app.post("/certificate/renew", dependencies=[Depends(live_certificate.refuse_others)])
async def renew_certificate(request: Request) -> dict[str, Any]:
    """Renew the development certificate; answers with the one that a new connection gets."""
    return await live_certificate.renew_it(request, feed)


@app.get("/events")
async def events(request: Request) -> EventStream:
    """The live feed, as server-sent events. Each worker sends its own events."""
    if feed.full:
        raise HTTPException(503, "The feed has too many readers.", {"Retry-After": "60"})
    return EventStream(feed, request.client and (request.client.host, request.client.port))


def is_welcome(client: ClientIdentity) -> bool:
    """Whether /me accepts this client."""
    return not CLIENTS or client.common_name in CLIENTS


@app.get("/me")
def me(client: Annotated[ClientIdentity, Depends(require_client(is_welcome))]) -> dict[str, Any]:
    """Mutual TLS: the client's identity from its certificate. 401 without one, 403 for one that is not on the list."""
    return {
        "subject": client.subject,
        "common_name": client.common_name,
        "dns_names": client.dns_names,
        "emails": client.emails,
        "serial": client.serial_number,
        "fingerprint_sha256": client.fingerprint_sha256,
    }


@app.get("/explain/{code}", response_class=HTMLResponse)
def explained(request: Request, code: str) -> str:
    """The entry of `asgi-tls explain` for the code of a failed handshake; the feed links here."""
    found = explain(code)
    if not found:
        raise HTTPException(404, "This code is not known. Run `asgi-tls explain` with the whole message.")
    trouble = found[0].trouble
    lists = {"Causes": trouble.causes, "What to do": trouble.fixes, "To verify": trouble.commands}
    body = "".join(
        f"<h2>{title}</h2><ul>{''.join(f'<li>{html.escape(item)}</li>' for item in items)}</ul>"
        for title, items in lists.items()
    )
    return EXPLAINED.substitute(
        nonce=request.state.csp_nonce,
        title=html.escape(trouble.title),
        meaning=html.escape(trouble.meaning),
        body=body,
        reference=html.escape(trouble.reference),
    )


@app.get("/", response_class=HTMLResponse)
def page(request: Request) -> str:
    """The same as a page."""
    connection, der = tls(request), live_certificate.of_connection(request)
    facts = {} if der is None else live_certificate.facts(der)
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
        "order": text_of(feed.order and feed.order.msg),
        "renewal": f"{feed.order.renew_at:%Y-%m-%d}" if feed.order and feed.order.renew_at else text_of(None),
        "unordered": "" if feed.order else "hidden",
        "renewable": "" if live_certificate.may_renew(request) else "hidden",
    }
    rows = "".join(
        f"<div><dt>{html.escape(name)}{help_for(name)}</dt><dd>{html.escape(text_of(value))}</dd></div>"
        for name, value in connection.items()
    )
    return PAGE.substitute({name: html.escape(value) for name, value in values.items()}, rows=rows)


@app.get("/healthz")
def healthz() -> dict[str, str]:
    """For load balancers."""
    return {"status": "ok"}


def help_for(name: str) -> str:
    """The help below a row's name, if it has one."""
    return f"<small>{html.escape(HELP[name])}</small>" if name in HELP else ""


def text_of(value: object) -> str:
    """A value as text for people."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "\u2013" if value is None else str(value)


def server_software() -> str:
    """The server that runs this application, with its version."""
    for name in ("gunicorn", "hypercorn", "uvicorn"):
        if name in sys.modules:
            return f"{name} {metadata.version(name)}"
    return "unknown"
