"""An OCSP responder over real HTTP that answers what it is told to, rightly or wrongly, and counts who asked.

with Responder(pki) as responder:
    pair = pki.leaf("localhost", ocsp=responder.url)
    responder.answer = responder.good            # or revoked, garbage, slow, …
"""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID
from pki import PKI, Pair

HOUR = timedelta(hours=1)


def signer(pki: PKI, **how: Any) -> Pair:
    """A delegated responder's certificate."""
    return pki.leaf("ocsp.test", **{"eku": (ExtendedKeyUsageOID.OCSP_SIGNING,), "san": False, **how})


def respond(
    certificate: x509.Certificate,
    issuer: Pair,
    *,
    by: Pair | None = None,
    status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
    this_update: timedelta = -HOUR,
    next_update: timedelta | None = 7 * 24 * HOUR,
    by_name: bool = False,
    attach: bool = True,
    digest: hashes.HashAlgorithm | None = None,
    certid: hashes.HashAlgorithm | None = None,
    now: datetime | None = None,
    reason: x509.ReasonFlags | None = x509.ReasonFlags.key_compromise,
) -> bytes:
    """A response in DER, signed by the issuer or `by` another; times are seen from `now`."""
    now = now or datetime.now(UTC)
    by = by or issuer
    revoked = status is ocsp.OCSPCertStatus.REVOKED
    builder = (
        ocsp.OCSPResponseBuilder()
        .add_response(
            cert=certificate,
            issuer=issuer.certificate,
            algorithm=certid or hashes.SHA1(),
            cert_status=status,
            this_update=now + this_update,
            next_update=None if next_update is None else now + next_update,
            revocation_time=now - HOUR if revoked else None,
            revocation_reason=reason if revoked else None,
        )
        .responder_id(ocsp.OCSPResponderEncoding.NAME if by_name else ocsp.OCSPResponderEncoding.HASH, by.certificate)
    )
    if attach and by is not issuer:
        builder = builder.certificates([by.certificate])
    plain = type(by.key).__name__.startswith("Ed")
    return builder.sign(by.key, None if plain else digest or hashes.SHA256()).public_bytes(Encoding.DER)


@dataclass
class Responder:
    """`answer` takes a certificate's serial number and gives the body; `requests` are the serial numbers asked for."""

    pki: PKI
    requests: list[int] = field(default_factory=list)
    answer: Callable[[int], bytes] = field(default=lambda _: b"")
    life: tuple[timedelta, timedelta] = (-HOUR, 7 * 24 * HOUR)
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    before: Callable[[Any], object] = field(default=lambda _: None)
    known: dict[int, x509.Certificate] = field(default_factory=dict)
    paths: list[str] = field(default_factory=list)

    def __enter__(self) -> Responder:
        self.answer = self.good
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(size := int(self.headers["Content-Length"]))
                if len(body) < size:  # whoever asked has been killed
                    return
                outer.paths.append(self.path)
                outer.requests.append(serial := ocsp.load_der_ocsp_request(body).serial_number)
                with contextlib.suppress(OSError):
                    outer.before(self)
                    answer = outer.answer(serial)
                    self.send_response(outer.status)
                    for name, value in outer.headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(answer)))
                    self.end_headers()
                    self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        self._handler = Handler
        self._listen(0)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """From now on nobody listens."""
        self._server.shutdown()
        self._server.server_close()

    def start_again(self) -> None:
        """After `stop`, at the same port."""
        self._listen(self._server.server_port)

    def _listen(self, port: int) -> None:
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), self._handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/"

    def leaf(self, *names: str, **how: Any) -> Pair:
        """A pair that names this responder, and that it knows."""
        pair = self.pki.leaf(*(names or ("localhost", "127.0.0.1")), **{"ocsp": self.url, **how})
        self.known[pair.certificate.serial_number] = pair.certificate
        return pair

    def made(self, **how: Any) -> Callable[[int], bytes]:
        """What answers with `respond(…)`, the times by `life`."""

        def answer(serial: int) -> bytes:
            times = {"this_update": self.life[0], "next_update": self.life[1]}
            return respond(self.known[serial], self.pki.intermediate, **{**times, **how})

        return answer

    def good(self, serial: int) -> bytes:
        return self.made()(serial)
