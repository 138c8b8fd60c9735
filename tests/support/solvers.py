"""Programs of the tests' own that answer a CA's challenges, and keep what they were asked."""

from __future__ import annotations

import hashlib
import http.server
import ipaddress
import socket
import ssl
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from pebble import Pebble
from pki import PKI

from asgi_tls.renewal.acme.account import dns_value

# RFC 8737 section 3: id-pe-acmeIdentifier.
_ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")


class Recording:
    """A solver that prepares nothing, and counts."""

    def __init__(self) -> None:
        self.presented: list[tuple[str, str, str, str]] = []
        self.cleaned: list[tuple[str, str, str, str]] = []

    def present(self, name: str, challenge_type: str, token: str, key_authorization: str) -> None:
        self.presented.append((name, challenge_type, token, key_authorization))

    def clean(self, name: str, challenge_type: str, token: str, key_authorization: str) -> None:
        self.cleaned.append((name, challenge_type, token, key_authorization))


class HTTPSolver(Recording):
    """Serves http-01 on a port."""

    @classmethod
    @contextmanager
    def serving(cls, port: int) -> Iterator[HTTPSolver]:
        solver = cls()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                token = self.path.rpartition("/")[2]
                found = {each[2]: each[3] for each in solver.presented}.get(token, "")
                self.send_response(200 if found else 404)
                self.end_headers()
                self.wfile.write(found.encode())

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- as the base class has it
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield solver
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class DNSSolver(Recording):
    """Sets the TXT records of pebble's DNS server."""

    def __init__(self, ca: Pebble) -> None:
        super().__init__()
        self._ca = ca

    def present(self, name: str, challenge_type: str, token: str, key_authorization: str) -> None:
        super().present(name, challenge_type, token, key_authorization)
        host = f"_acme-challenge.{name.removeprefix('*.')}."
        self._ca.dns("set-txt", host=host, value=dns_value(key_authorization))


class TLSALPNSolver(Recording):
    """Serves tls-alpn-01 on a port, with a certificate for the last name that was presented."""

    @classmethod
    @contextmanager
    def serving(cls, port: int) -> Iterator[TLSALPNSolver]:
        solver = cls()
        listener = socket.socket()
        listener.bind(("127.0.0.1", port))
        listener.listen()
        thread = threading.Thread(target=solver._serve, args=(listener,), daemon=True)
        thread.start()
        try:
            yield solver
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            thread.join()

    def _serve(self, listener: socket.socket) -> None:
        with suppress(OSError), tempfile.TemporaryDirectory() as directory:
            while True:
                accepted, _ = listener.accept()
                context = self._context(Path(directory))
                with suppress(OSError), accepted, context.wrap_socket(accepted, server_side=True) as secure:
                    secure.recv(1)

    def _context(self, directory: Path) -> ssl.SSLContext:
        name, _, _, key_authorization = self.presented[-1]
        digest = hashlib.sha256(key_authorization.encode()).digest()
        extension = x509.UnrecognizedExtension(_ACME_IDENTIFIER, b"\x04\x20" + digest)
        pair = PKI().leaf(name, self_signed=True, eku=None)
        builder = x509.CertificateBuilder().subject_name(pair.certificate.subject)
        builder = builder.issuer_name(pair.certificate.subject).public_key(pair.key.public_key())
        builder = builder.serial_number(1).not_valid_before(pair.certificate.not_valid_before_utc)
        builder = builder.not_valid_after(pair.certificate.not_valid_after_utc)
        named: x509.GeneralName = x509.DNSName(name)
        with suppress(ValueError):
            named = x509.IPAddress(ipaddress.ip_address(name))
        builder = builder.add_extension(x509.SubjectAlternativeName([named]), critical=False)
        certificate = builder.add_extension(extension, critical=True).sign(pair.key, hashes.SHA256())
        own = type(pair)(certificate, pair.key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*own.write(directory))
        context.set_alpn_protocols(["acme-tls/1"])
        return context
