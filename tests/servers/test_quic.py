"""HTTP/3: new connections get the renewed certificate, and those of before go on."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aioquic.asyncio import QuicConnectionProtocol
from aioquic.asyncio.client import connect
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived
from aioquic.quic.configuration import QuicConfiguration
from files import Files
from handshakes import client
from handshakes import connect as connect_to
from odd_certificates import V4, Odd, OddPair, alternative_names, basic_constraints, dns
from patience import PATIENCE
from ports import free_port
from renewals import Site, overwritten, without_events
from servers import Server, asgi_tls, serve

from asgi_tls import PEMFiles, ServerTLS
from asgi_tls.errors import ConfigurationError


class Client(QuicConnectionProtocol):
    """A client of one request at a time."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.http = H3Connection(self._quic)
        self.answer: asyncio.Future[bytes] | None = None

    def quic_event_received(self, event: Any) -> None:
        for one in self.http.handle_event(event):
            if isinstance(one, DataReceived) and self.answer is not None and not self.answer.done():
                self.answer.set_result(one.data)

    async def get(self) -> bytes:
        self.answer = asyncio.get_running_loop().create_future()
        stream = self._quic.get_next_available_stream_id()
        fields = {":method": "GET", ":scheme": "https", ":authority": "localhost", ":path": "/"}
        self.http.send_headers(stream, [(name.encode(), text.encode()) for name, text in fields.items()], True)
        self.transmit()
        return await asyncio.wait_for(self.answer, 5)

    @property
    def serial(self) -> int:
        """Of the server's certificate, which aioquic has verified."""
        certificate = self._quic.tls._peer_certificate
        assert certificate is not None
        return certificate.serial_number


@asynccontextmanager
async def connected(port: int, files: Files) -> AsyncIterator[Client]:
    configuration = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, server_name="localhost")
    configuration.load_verify_locations(cadata=files.ca.read_bytes())
    async with connect("127.0.0.1", port, configuration=configuration, create_protocol=Client) as client:
        assert isinstance(client, Client)
        yield client


def odd_pair() -> OddPair:
    """With a DEFAULT value that is encoded."""
    return Odd().pair(extensions=[alternative_names(dns(b"localhost"), critical=b"\x01\x01\x00"), basic_constraints()])


def test_a_certificate_that_aioquic_cannot_parse_is_refused(tmp_path: Path) -> None:
    for pair in (odd_pair(), Odd().pair(version=V4)):
        tls = ServerTLS(PEMFiles(*pair.write(tmp_path)))
        tls.check()  # over TCP it is served
        with pytest.raises(ConfigurationError, match="HTTP/3 in hypercorn cannot parse this certificate"):
            tls.hypercorn_config(bind="127.0.0.1:0", quic_bind="127.0.0.1:0")
    # What aioquic does not look at may be odd.
    pair = Odd().pair(extensions=[alternative_names(dns(b"localhost")), basic_constraints(b"\x01\x01\x00")])
    ServerTLS(PEMFiles(*pair.write(tmp_path))).hypercorn_config(bind="127.0.0.1:0", quic_bind="127.0.0.1:0")


def wrapped(site: Site, port: int, loop: str) -> tuple[list[str], dict[str, str]]:
    cert, key = site.source.paths
    own = ["--bind=127.0.0.1:0", "--graceful-timeout=0", f"--quic-bind=127.0.0.1:{port}", f"--worker-class={loop}"]
    return asgi_tls("hypercorn", "facts_app:app", *own, f"--certfile={cert}", f"--keyfile={key}"), {}


def plain(site: Site, port: int, loop: str) -> tuple[list[str], dict[str, str]]:
    cert, key = site.source.paths
    own = ["--bind=127.0.0.1:0", "--graceful-timeout=0", f"--quic-bind=127.0.0.1:{port}", f"--worker-class={loop}"]
    command = [sys.executable, "-m", "hypercorn", "-c", "python:asgi_tls.servers.hypercorn", *own, "facts_app:app"]
    return command, {"ASGI_TLS_CERTFILE": str(cert), "ASGI_TLS_KEYFILE": str(key), "ASGI_TLS_RELOAD_INTERVAL": "0.5"}


@pytest.mark.parametrize(("start", "loop"), [(wrapped, "asyncio"), (wrapped, "uvloop"), (plain, "asyncio")])
def test_new_connections_get_the_new_certificate(
    files: Files, tmp_path: Path, start: Callable[[Site, int, str], tuple[list[str], dict[str, str]]], loop: str
) -> None:
    site, port = Site(files.pki, tmp_path), free_port(socket.SOCK_DGRAM)  # hypercorn does not log it

    async def renew(server: Server, kind: str) -> None:
        pair = site.next_pair(key=kind)
        if start is wrapped:
            without_events(site, pair)
            os.kill(server.process.pid, signal.SIGHUP)
        else:
            overwritten(site, pair)
        deadline = time.monotonic() + PATIENCE
        while True:
            async with connected(port, files) as client:
                if client.serial == pair.certificate.serial_number:
                    assert b'"http": "3"' in await client.get()
                    return
            assert time.monotonic() < deadline, server.text
            await asyncio.sleep(0.02)

    async def keep(server: Server) -> None:
        """A renewed certificate that aioquic cannot parse is served over TCP alone."""
        odd = odd_pair()
        odd.write(site.mount)
        os.kill(server.process.pid, signal.SIGHUP)
        deadline = time.monotonic() + PATIENCE
        while "HTTP/3 keeps its certificate" not in server.text:
            async with connected(port, files) as verifying:
                assert b'"http": "3"' in await verifying.get()
            assert time.monotonic() < deadline, server.text
            await asyncio.sleep(0.02)
        assert connect_to(server.port, client()).certificate == odd.der

    async def main(server: Server) -> None:
        async with connected(port, files) as before:
            assert b'"http": "3"' in await before.get()
            first = before.serial
            for kind in ("ecdsa", "rsa", "ecdsa"):
                await renew(server, kind)
            if start is wrapped:
                await keep(server)
            assert b'"http": "3"' in await before.get()
            assert before.serial == first

    command, env = start(site, port, loop)
    with serve(command, env=env, ready="QUIC") as server:
        asyncio.run(asyncio.wait_for(main(server), 2 * PATIENCE))  # aioquic's client waits for ever where it fails
    assert "Traceback" not in server.text
