"""Servers with automatic HTTPS against pebble, and who visits them meanwhile."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from launch import Launch
from patience import PATIENCE, until
from pebble import NAME, Pebble
from servers import Server, serve


def settings_for(ca: Pebble, storage: Path, **more: str) -> dict[str, str]:
    return {
        "acme": NAME,
        "acme_directory": ca.url,
        "acme_ca_file": str(ca.ca_file),
        "acme_storage": str(storage),
        "redirect_port": str(ca.http_port),
        **more,
    }


@contextmanager
def launched(launch: Launch, ca: Pebble, storage: Path, *own: str, **more: str) -> Iterator[Server]:
    ready, count = launch.readiness()
    command = launch.command(None, settings_for(ca, storage, **more), *own, port=ca.tls_port)
    with serve(command, ready=ready, count=count) as server:
        yield server


def issuer(port: int) -> str:
    """Who issued the certificate that is served, the placeholder included."""
    return served(port).issuer.rfc4514_string()


def serial_of(port: int) -> int:
    """The serial number of the certificate that is served."""
    return served(port).serial_number


def served(port: int, host: str = "127.0.0.1") -> x509.Certificate:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection((host, port), timeout=PATIENCE) as raw,
        context.wrap_socket(raw, server_hostname=NAME) as secure,
    ):
        der = secure.getpeercert(binary_form=True)
        assert der is not None
        return x509.load_der_x509_certificate(der)


def until_issued(port: int, server: Server) -> None:
    until(lambda: "Pebble" in issuer(port), server)


@dataclass
class Traffic:
    """Requests one after the other, each on a connection of its own; any certificate will do."""

    port: int
    answered: int = 0
    failed: list[str] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    def _run(self) -> None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        while not self._over.is_set():
            try:
                with (
                    socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as raw,
                    context.wrap_socket(raw, server_hostname=NAME) as secure,
                ):
                    secure.sendall(f"GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n".encode())
                    assert secure.recv(64).startswith(b"HTTP/1.1 200")
                self.answered += 1
            except (OSError, AssertionError) as error:
                self.failed.append(repr(error))

    @contextmanager
    def running(self, threads: int = 2) -> Iterator[Traffic]:
        all_of_it = [threading.Thread(target=self._run) for _ in range(threads)]
        for each in all_of_it:
            each.start()
        try:
            yield self
        finally:
            self._over.set()
            for each in all_of_it:
                each.join(PATIENCE)


def stored(storage: Path) -> Mapping[str, object]:
    (found,) = (storage / "certificates").glob("*.json")
    values: dict[str, object] = json.loads(found.read_text())
    return values


def options(settings: Mapping[str, str]) -> list[str]:
    return [f"--tls-{name.replace('_', '-')}={value}" for name, value in settings.items() if name.startswith("acme")]
