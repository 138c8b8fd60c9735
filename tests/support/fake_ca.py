"""An ACME CA over real HTTPS that answers rightly, or as a test tells it to, and keeps what it was asked.

with FakeCA(tmp_path) as ca:
    ca.say("new-order", refused("rateLimited", 429, retry_after="120"))     # once; `ca.always` says it each time
    obtain(ca.ca, …)
    assert ca.asked("new-order") == 1

It validates nothing: each challenge that is answered is valid at once.
"""

from __future__ import annotations

import base64
import http.server
import json
import ssl
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from cryptography import x509
from pki import PKI

from asgi_tls.renewal.acme.ca import CA

URN = "urn:ietf:params:acme:error:"
HTML = b"<!DOCTYPE html><html><body><h1>Service unavailable</h1></body></html>"


@dataclass(frozen=True)
class Answer:
    """`how` it is sent: whole, or never, or without an end, or a byte now and then, or cut off before the status."""

    status: int = 200
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    how: Literal["whole", "never", "endless", "drip", "drip-headers", "cut"] = "whole"


def refused(kind: str, status: int, *, retry_after: str | None = None, detail: str = "No.", **more: Any) -> Answer:
    """A problem document."""
    headers = {"Content-Type": "application/problem+json"}
    headers |= {} if retry_after is None else {"Retry-After": retry_after}
    return Answer(status, {"type": URN + kind, "detail": detail, "status": status, **more}, headers)


def page(status: int) -> Answer:
    """What a proxy before the CA says."""
    return Answer(status, HTML, {"Content-Type": "text/html; charset=utf-8"})


class FakeCA:
    """Start it with `with`. `clock` is what it adds to the time in its Date header."""

    def __init__(
        self, directory: Path, *, clock: timedelta = timedelta(), meta: Mapping[str, Any] | None = None
    ) -> None:
        self.pki = PKI("fake")
        self.clock = clock
        self.meta = dict(meta or {})
        self.challenge_types = ["http-01", "tls-alpn-01", "dns-01"]
        self.requests: list[tuple[str, Any]] = []
        """Each: the route, and the payload that was signed, None without one."""
        self.always: dict[str, Answer] = {}
        self._once: dict[str, list[Answer]] = defaultdict(list)
        self._orders: list[dict[str, Any]] = []
        self._lock = threading.RLock()
        self._ended = threading.Event()
        certificate, key = self.pki.leaf("localhost", "127.0.0.1").write(directory / "fake-ca")
        self.ca_file = directory / "fake-ca" / "root.pem"
        self.ca_file.write_bytes(self.pki.root_pem)
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"fake": self}))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def base(self) -> str:
        return f"https://localhost:{self._server.server_address[1]}"

    @property
    def ca(self) -> CA:
        return CA("fake", f"{self.base}/directory", self.ca_file)

    def say(self, route: str, *answers: Answer) -> None:
        """Answer so the next times, before what is right."""
        self._once[route] += answers

    def asked(self, route: str) -> int:
        """How often."""
        return sum(each == route for each, _ in self.requests)

    def __enter__(self) -> FakeCA:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def respond(self, route: str, number: int, payload: Any) -> Answer:
        with self._lock:
            self.requests.append((route, payload))
            if self._once[route]:
                return self._once[route].pop(0)
            if route in self.always:
                return self.always[route]
            right: Answer = getattr(self, f"_{route.replace('-', '_')}")(number, payload)
            return right

    def hold(self) -> None:
        """Until the test is over."""
        self._ended.wait()

    def drip(self) -> Iterator[None]:
        while not self._ended.wait(0.02):
            yield

    def _directory(self, _number: int, _payload: Any) -> Answer:
        routes = ("nonce", "account", "order", "revoke")
        names = ("newNonce", "newAccount", "newOrder", "revokeCert")
        urls = {name: f"{self.base}/{'new-' if route in {'account', 'order'} else ''}{route}"
                for name, route in zip(names, routes, strict=True)}  # fmt: skip
        return Answer(200, {**urls, "renewalInfo": f"{self.base}/renewal-info", "meta": self.meta})

    def _nonce(self, _number: int, _payload: Any) -> Answer:
        return Answer(200)

    def _new_account(self, _number: int, _payload: Any) -> Answer:
        return Answer(201, {"status": "valid"}, {"Location": f"{self.base}/account/1"})

    def _new_order(self, _number: int, payload: Any) -> Answer:
        self._orders.append({"identifiers": payload["identifiers"], "answered": False, "pem": None})
        number = len(self._orders) - 1
        return Answer(201, self._order_body(number), {"Location": f"{self.base}/order/{number}"})

    def _order(self, number: int, _payload: Any) -> Answer:
        return Answer(200, self._order_body(number))

    def _order_body(self, number: int) -> dict[str, Any]:
        order = self._orders[number]
        status = "valid" if order["pem"] else "ready" if order["answered"] else "pending"
        found = {
            "status": status, "identifiers": order["identifiers"], "finalize": f"{self.base}/finalize/{number}",
            "authorizations": [f"{self.base}/authorization/{number}"],
        }  # fmt: skip
        return {**found, "certificate": f"{self.base}/certificate/{number}"} if order["pem"] else found

    def _authorization(self, number: int, _payload: Any) -> Answer:
        """One for all names: there is one in the tests."""
        order = self._orders[number]
        status = "valid" if order["answered"] else "pending"
        challenges = [
            {"type": kind, "url": f"{self.base}/challenge/{number}", "token": token_of(number), "status": status}
            for kind in self.challenge_types
        ]
        return Answer(200, {"status": status, "identifier": order["identifiers"][0], "challenges": challenges})

    def _challenge(self, number: int, _payload: Any) -> Answer:
        self._orders[number]["answered"] = True
        return Answer(200, {"type": "http-01", "status": "processing"})

    def _finalize(self, number: int, payload: Any) -> Answer:
        request = x509.load_der_x509_csr(_decoded(payload["csr"]))
        names = [each["value"] for each in self._orders[number]["identifiers"]]
        self._orders[number]["pem"] = self.pki.leaf(*names, key=_Public(request.public_key())).chain_pem
        return Answer(200, self._order_body(number))

    def _certificate(self, number: int, _payload: Any) -> Answer:
        return Answer(200, self._orders[number]["pem"], {"Content-Type": "application/pem-certificate-chain"})

    def _renewal_info(self, _number: int, _payload: Any) -> Answer:
        start = datetime.now(UTC) + timedelta(days=60)
        window = {"start": start.isoformat(), "end": (start + timedelta(days=2)).isoformat()}
        why = "https://ca.example/incident"
        return Answer(200, {"suggestedWindow": window, "explanationURL": why}, {"Retry-After": "21600"})

    def _revoke(self, _number: int, _payload: Any) -> Answer:
        return Answer(200)


class _Handler(http.server.BaseHTTPRequestHandler):
    fake: FakeCA
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(None)

    def do_HEAD(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        signed = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        payload = _decoded(signed["payload"])
        self._answer(json.loads(payload) if payload else None)

    def _answer(self, payload: Any) -> None:
        route, _, rest = self.path.strip("/").partition("/")
        answer = self.fake.respond(route, int(rest) if rest.isdigit() else 0, payload)
        with suppress(OSError):
            getattr(self, f"_send_{answer.how.replace('-', '_')}")(answer)

    def _head(self, answer: Answer) -> None:
        self.send_response_only(answer.status)
        fields = {
            "Date": format_datetime(datetime.now(UTC) + self.fake.clock, usegmt=True),
            "Replay-Nonce": base64.urlsafe_b64encode(time.time_ns().to_bytes(16, "big")).decode().rstrip("="),
            "Content-Type": "application/json",
            **answer.headers,
        }
        for name, value in fields.items():
            self.send_header(name, value)

    def _send_whole(self, answer: Answer) -> None:
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        self._head(answer)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _send_never(self, _answer: Answer) -> None:
        self.fake.hold()

    def _send_cut(self, _answer: Answer) -> None:
        self.close_connection = True

    def _send_endless(self, answer: Answer) -> None:
        self._head(answer)
        self.end_headers()
        while not self.fake._ended.is_set():
            self.wfile.write(b" " * 65536)

    def _send_drip(self, answer: Answer) -> None:
        self._head(answer)
        self.end_headers()
        for _ in self.fake.drip():
            self.wfile.write(b" ")

    def _send_drip_headers(self, answer: Answer) -> None:
        self._head(answer)
        self.flush_headers()
        for _ in self.fake.drip():
            self.wfile.write(b"x")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- as the base class has it
        pass


class _Public:
    """A key of which the public half is known, for PKI.leaf."""

    def __init__(self, key: Any) -> None:
        self._key = key

    def public_key(self) -> Any:
        return self._key


def token_of(number: int) -> str:
    """Of the challenges in the order of this number, the first being 0."""
    return f"{number:t>43}"


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
