"""The properties of the certificate that is served, and the renewal of a development certificate."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import ssl
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from fastapi import HTTPException, Request

from asgi_tls import create_client_context, tls_connection
from asgi_tls.dev.ca import LocalCA
from asgi_tls.dev.renewal import is_development, renew
from asgi_tls.events import CertificateLoadedEvent
from live_feed import Feed

# The server checks its files every five seconds by default, and at once where watchfiles is installed.
PATIENCE = 20.0

_one_at_a_time = asyncio.Lock()


def of_connection(request: Request) -> bytes | None:
    """The certificate (DER) that the server sent on this connection; None over plain HTTP, or if it is not known."""
    connection = tls_connection(request.scope)
    return None if connection is None else connection.server_certificate


def facts(der: bytes) -> dict[str, Any]:
    """The properties of a certificate, for JSON."""
    certificate = x509.load_der_x509_certificate(der)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    now = datetime.now(UTC)
    return {
        "serial": f"{certificate.serial_number:x}",
        "names": [str(name.value) for name in names],
        "issuer": certificate.issuer.rfc4514_string(),
        "not_before": begin.isoformat(),
        "not_after": end.isoformat(),
        "days_left": round((end - now).total_seconds() / 86400, 1),
        "used_percent": round(100 * (now - begin) / (end - begin), 1),
        "fingerprint_sha256": certificate.fingerprint(hashes.SHA256()).hex(),
    }


def may_renew(request: Request) -> bool:
    """Whether the certificate is one of the local CA and the visitor is on this machine."""
    der = of_connection(request)
    return der is not None and _is_local(request) and is_development(der)


def refuse_others(request: Request) -> None:
    """Raise 403 unless the request comes from the page itself, on this machine (against CSRF)."""
    if not _is_local(request):
        raise HTTPException(403, "Only a browser on the server's machine can renew the certificate.")
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    own = f"{request.url.scheme}://{request.url.netloc}"
    if (origin or site) is None or origin not in {None, own} or site not in {None, "same-origin"}:
        raise HTTPException(403, f"The request must come from the page itself: send the header 'Origin: {own}'.")


async def renew_it(request: Request, feed: Feed) -> dict[str, Any]:
    """Renew the certificate, and return what a new connection gets. Raises 409 and 504 with the reason."""
    if not may_renew(request):
        raise HTTPException(409, "Only a certificate of the local CA can be renewed here, and this is not one.")
    async with _one_at_a_time:
        context = create_client_context(cafile=LocalCA().certificate_path)
        with feed.watching() as events:
            issued = await asyncio.to_thread(renew, await presented(request, context))
            if issued is None:
                raise HTTPException(409, "The certificate is not in the local CA's directory.")
            new = x509.load_pem_x509_certificate(await asyncio.to_thread(issued.certfile.read_bytes))
            fingerprint = new.fingerprint(hashes.SHA256()).hex()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    while event := await events.get():
                        if isinstance(event, CertificateLoadedEvent) and event.fingerprint_sha256 == fingerprint:
                            break
        for _ in range(10):  # other workers may need a moment longer
            if (found := facts(await presented(request, context)))["fingerprint_sha256"] == fingerprint:
                return found
            await asyncio.sleep(0.5)
    raise HTTPException(504, f"The new certificate is in {issued.certfile}, but is not served yet.")


async def presented(request: Request, context: ssl.SSLContext) -> bytes:
    """The certificate (DER) that a new connection to this server gets, verified."""
    host, port = request.scope["server"]
    try:
        async with asyncio.timeout(10):
            _, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=request.url.hostname)
    except OSError as error:
        raise HTTPException(409, f"A new connection to this server fails: {error}") from None
    der: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return der


def _is_local(request: Request) -> bool:
    """Whether client and host are this machine. Both: behind a local proxy, everybody's address is a local one."""
    return request.client is not None and _is_loopback(request.client.host) and _is_loopback(request.url.hostname or "")


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761 section 6.3
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
