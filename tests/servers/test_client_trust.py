"""Over real sockets: sessions outlive a renewal, and end with the trust in a client's CA."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import time
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from files import Files
from handshakes import client
from launch import Launch
from patience import PATIENCE, until
from pki import PKI
from renewals import Site, renamed
from servers import Server

LOOPS = ("asyncio", "uvloop")
LAUNCHES = [Launch("uvicorn", "uvloop"), Launch("hypercorn", "asyncio", 0), Launch("gunicorn", "gthread")]


class Visitor:
    """A client with a certificate, which offers its last session."""

    def __init__(self, pki: PKI, directory: Path, version: ssl.TLSVersion) -> None:
        self.context = client(minimum=version, maximum=version)
        pair = pki.leaf("client.example", eku=(ExtendedKeyUsageOID.CLIENT_AUTH,))
        self.context.load_cert_chain(*pair.write(directory))
        self.session: ssl.SSLSession | None = None
        self.certificate: bytes | None = None

    def visit(self, server: Server) -> str:
        """Whether it got an answer, over a new session or a resumed one."""
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as raw:
            try:
                with self.context.wrap_socket(raw, server_hostname="localhost", session=self.session) as secure:
                    secure.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                    answer, certificate = b"", secure.getpeercert(binary_form=True)
                    while chunk := secure.recv(65536):
                        answer += chunk
                    if not answer:
                        return "refused"
                    self.session, self.certificate = secure.session, certificate
                    return "resumed" if secure.session_reused else "new"
            except OSError:
                return "refused"


def reaches(visitor: Visitor, server: Server, outcome: str) -> None:
    until(lambda: visitor.visit(server) == outcome, server)


VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


@pytest.mark.parametrize("launch", LAUNCHES, ids=str)
def test_sessions_outlive_a_renewal_and_end_with_the_trust(files: Files, tmp_path: Path, launch: Launch) -> None:
    site, staying, leaving = Site(files.pki, tmp_path), PKI("Staying"), PKI("Leaving")
    bundle = tmp_path / "clients.pem"
    bundle.write_bytes(staying.root_pem + leaving.root_pem)
    with launch.start(site.source, {"client_ca": str(bundle), "reload_interval": "0.5"}) as server:
        good, bad, later, newcomers = (
            [Visitor(pki, tmp_path / f"{name}-{version.name}", version) for version in VERSIONS]
            for name, pki in (("good", staying), ("bad", leaving), ("later", leaving), ("newcomer", staying))
        )
        # A ticket could not be held back where there is no event loop, so there is none.
        again = "new" if launch.kind == "gthread" else "resumed"
        for visitor in (*good, *bad, *later):
            assert [visitor.visit(server) for _ in range(2)] == ["new", again]
        pair = site.next_pair()
        renamed(site, pair)
        deadline = time.monotonic() + PATIENCE
        for visitor in newcomers:
            while visitor.certificate != pair.der:
                visitor.session = None
                assert visitor.visit(server) == "new"
                assert time.monotonic() < deadline, server.text
        assert [visitor.visit(server) for visitor in (*good, *bad)] == [again] * 4
        bundle.write_bytes(staying.root_pem)
        if launch.server != "gunicorn":
            os.kill(server.process.pid, signal.SIGHUP)
        for visitor in bad:
            reaches(visitor, server, "refused")
        for visitor in later:
            visitor.session = None
        for visitor in (*bad, *later):
            assert [visitor.visit(server) for _ in range(2)] == ["refused", "refused"]
        for visitor in good:
            assert [visitor.visit(server) for _ in range(2)] == ["new", again]


@pytest.mark.parametrize("launch", LAUNCHES, ids=str)
def test_a_revoked_intermediate_lets_nobody_in(files: Files, tmp_path: Path, launch: Launch) -> None:
    """A new list of the root is taken up while the server runs."""
    site, ca, crl = Site(files.pki, tmp_path), PKI("Clients"), tmp_path / "crl.pem"
    bundle, lists = tmp_path / "clients.pem", ca.crl(ca.intermediate)
    bundle.write_bytes(ca.root_pem)
    crl.write_bytes(lists + ca.crl(ca.root))
    settings = {"client_ca": str(bundle), "client_crl": str(crl), "reload_interval": "0.3"}
    with launch.start(site.source, settings) as server:
        visitor = Visitor(ca, tmp_path / "visitor", ssl.TLSVersion.TLSv1_3)
        assert visitor.visit(server) == "new"
        crl.write_bytes(lists + ca.crl(ca.root, ca.intermediate))
        reaches(visitor, server, "refused")
        deadline = time.monotonic() + PATIENCE
        while "certificate verify failed: certificate revoked" not in server.text:
            assert visitor.visit(server) == "refused"  # the first may be refused as the CAs change meanwhile
            assert time.monotonic() < deadline, server.text
        crl.write_bytes(lists + ca.crl(ca.root))
        reaches(visitor, server, "new")


def exchange(raw: socket.socket, end: ssl.SSLObject, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> None:
    """Go on with a handshake until it waits for the server, without sending what the client has to say last."""
    raw.sendall(outgoing.read())
    while True:
        incoming.write(raw.recv(65536))
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
        return


class InFlight:
    """A handshake of a visitor that has all that the server says, and owes it the last flight."""

    def __init__(self, visitor: Visitor, server: Server) -> None:
        self.visitor = visitor
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.end = visitor.context.wrap_bio(
            self.incoming, self.outgoing, server_hostname="localhost", session=visitor.session
        )
        self.raw = socket.create_connection(("127.0.0.1", server.port), timeout=60)
        with pytest.raises(ssl.SSLWantReadError, match="did not complete"):
            self.end.do_handshake()
        exchange(self.raw, self.end, self.incoming, self.outgoing)

    def is_refused(self, server: Server) -> None:
        """It gets nothing for its last flight, and nothing by a session that it may have been given."""
        with self.raw:
            self.raw.sendall(self.outgoing.read())
            self.incoming.write(self.raw.recv(65536))
            with pytest.raises(ssl.SSLWantReadError, match="did not complete"):
                self.end.read(1)
        if self.end.session is not None and self.end.session.has_ticket:
            self.visitor.session = self.end.session
        assert self.visitor.visit(server) == "refused"


@pytest.mark.parametrize(
    "launch",
    [*(Launch("uvicorn", loop) for loop in LOOPS), *(Launch("hypercorn", loop, 0) for loop in LOOPS)],
    ids=str,
)
def test_handshakes_that_are_under_way_when_their_ca_is_removed(files: Files, tmp_path: Path, launch: Launch) -> None:
    """A full one, and one that resumes."""
    site, leaving = Site(files.pki, tmp_path), PKI("Leaving")
    bundle = tmp_path / "clients.pem"
    bundle.write_bytes(files.pki.root_pem + leaving.root_pem)
    with launch.start(site.source, {"client_ca": str(bundle), "reload_interval": "600"}) as server:
        new, known = (Visitor(leaving, tmp_path / name, ssl.TLSVersion.TLSv1_3) for name in ("new", "known"))
        assert known.visit(server) == "new"
        handshakes = [InFlight(visitor, server) for visitor in (new, known)]
        bundle.write_bytes(files.pki.root_pem)
        os.kill(server.process.pid, signal.SIGHUP)
        until(lambda: "client CA bundle" in server.text, server)
        for handshake in handshakes:
            handshake.is_refused(server)
