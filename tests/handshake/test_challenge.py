"""tls-alpn-01 beside ordinary clients: a CA gets its certificate and nothing else, and nobody gets in by it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
from cryptography import x509
from files import Files
from hypothesis import given
from hypothesis import strategies as st
from patience import PATIENCE

from asgi_tls import ServerTLS
from asgi_tls.certificate.challenges import ChallengePair, challenges
from asgi_tls.events import Event, SessionEvent
from asgi_tls.handshake.challenge import hello_in, is_validation, validated
from asgi_tls.handshake.hello import TLS13, X25519, Offer
from asgi_tls.profile import INTERMEDIATE, TLSProfile
from asgi_tls.renewal.acme.validation import challenge_pair

NAME, ADDRESS = "www.example.test", "2001:db8::7"
REVERSE = ".".join(reversed("20010db8000000000000000000000007")) + ".ip6.arpa"
V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
AUTHORIZATION = "token.thumbprint"


@pytest.fixture(autouse=True)
def pending() -> Iterator[None]:
    challenges.use_tls_alpn(
        {name: ChallengePair(*challenge_pair(name, AUTHORIZATION)) for name in (NAME, ADDRESS, "127.0.0.1")}
    )
    yield
    challenges.use_tls_alpn({})


class Conversation:
    """A client in memory, whose bytes go to the server in pieces."""

    def __init__(self, port: int, context: ssl.SSLContext, name: str, *, piece: int = 1 << 16) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.end = context.wrap_bio(self.incoming, self.outgoing, server_hostname=name)
        self._piece = piece
        self.received = b""
        self.raw = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, *_: object) -> None:
        self.raw.close()

    def shake_hands(self) -> None:
        while True:
            try:
                self.end.do_handshake()
            except ssl.SSLWantReadError:
                self.send()
                self.receive()
            else:
                self.send()
                return

    def send(self) -> None:
        data = self.outgoing.read()
        for at in range(0, len(data), self._piece):
            self.raw.sendall(data[at : at + self._piece])

    def receive(self) -> None:
        data = self.raw.recv(65536)
        self.received += data
        if data:
            self.incoming.write(data)
        else:
            self.incoming.write_eof()

    def rest(self) -> bytes:
        """What comes until the clean end. Raises ssl.SSLEOFError at any other end."""
        data = b""
        while True:
            try:
                some = self.end.read()
            except ssl.SSLWantReadError:
                self.receive()
            except ssl.SSLZeroReturnError:
                return data
            else:
                if not some:
                    return data
                data += some


def asking(*protocols: str, version: ssl.TLSVersion = V13, certificate: Path | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    if protocols:
        context.set_alpn_protocols(list(protocols))
    if certificate is not None:
        context.load_cert_chain(certificate)
    return context


async def page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        await reader.read(1)
        writer.write(b"in")
        await writer.drain()
        writer.close()
        await writer.wait_closed()


@contextlib.asynccontextmanager
async def serving(tls: ServerTLS) -> AsyncIterator[tuple[int, list[object]]]:
    made: list[object] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        made.append(writer)
        await page(reader, writer)

    context = tls.create_context(alpn=("h2", "http/1.1"))
    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1], made


def validate(port: int, context: ssl.SSLContext, name: str = NAME, *, piece: int = 1 << 16) -> tuple[str, bytes]:
    """The names in the certificate, and all that comes behind the handshake."""
    with Conversation(port, context, name, piece=piece) as client:
        client.shake_hands()
        assert client.end.selected_alpn_protocol() == "acme-tls/1"
        der = client.end.getpeercert(binary_form=True)
        assert der is not None
        listed = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(x509.SubjectAlternativeName)
        return ", ".join(str(each.value) for each in listed.value), client.rest()


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("version", [V12, V13])
@pytest.mark.parametrize("piece", [1, 5, 100, 1 << 16])
def test_a_ca_gets_its_certificate_and_a_clean_end(
    files: Files, new_loop: Callable[[], asyncio.AbstractEventLoop], version: ssl.TLSVersion, piece: int
) -> None:
    events: list[Event] = []

    async def main() -> None:
        async with serving(ServerTLS(files.ecdsa, listeners=[events.append])) as (port, made):
            names, rest = await asyncio.to_thread(validate, port, asking("acme-tls/1", version=version), piece=piece)
            assert (names, rest, made) == (NAME, b"", [])

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())
    reported = [event for event in events if isinstance(event, SessionEvent)]
    assert [(each.alpn, each.sni) for each in reported] == [("acme-tls/1", NAME)]
    assert not [event for event in events if event.event == "tls_client_error"]


@pytest.mark.parametrize("name", ["1.0.0.127.in-addr.arpa", REVERSE])
def test_an_address_is_asked_for_by_its_reverse_name(files: Files, name: str) -> None:
    async def main() -> None:
        async with serving(ServerTLS(files.ecdsa, listeners=[])) as (port, _):
            names, _ = await asyncio.to_thread(validate, port, asking("acme-tls/1"), name)
            assert names in {ADDRESS, "127.0.0.1"}

    asyncio.run(main())


# RFC 8446 section 4.1.3: the random value of a ServerHello that is a HelloRetryRequest.
RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
RETRYING = INTERMEDIATE.with_groups("P-384")
"""The client's first key share is for a group that this server does not have."""


@pytest.mark.parametrize("piece", [1, 1 << 16])
def test_after_a_hello_retry_request(files: Files, piece: int) -> None:
    def validate_once(port: int) -> None:
        with Conversation(port, asking("acme-tls/1"), NAME, piece=piece) as client:
            client.shake_hands()
            assert RETRY in client.received
            assert client.end.selected_alpn_protocol() == "acme-tls/1"
            assert client.rest() == b""

    async def main() -> None:
        async with serving(ServerTLS(files.ecdsa, profile=RETRYING, listeners=[])) as (port, made):
            await asyncio.to_thread(validate_once, port)
            assert made == []

    asyncio.run(main())


def get(port: int, context: ssl.SSLContext, name: str = "localhost") -> tuple[bytes, ssl.SSLObject]:
    with Conversation(port, context, name) as client:
        client.shake_hands()
        client.end.write(b"x")
        client.send()
        return client.rest(), client.end


@pytest.mark.parametrize("protocols", [(), ("http/1.1",), ("acme-tls/1", "http/1.1"), ("h2", "acme-tls/1")])
@pytest.mark.parametrize("name", [NAME, "localhost"])
def test_ordinary_clients_beside_it(files: Files, protocols: tuple[str, ...], name: str) -> None:
    async def main() -> None:
        async with serving(ServerTLS(files.ecdsa, listeners=[])) as (port, _):
            answer, end = await asyncio.to_thread(get, port, asking(*protocols), name)
            assert answer == b"in"
            assert end.selected_alpn_protocol() != "acme-tls/1"

    asyncio.run(main())


@pytest.mark.parametrize("waiting", [True, False])
def test_another_name_is_refused(files: Files, waiting: bool) -> None:
    if not waiting:
        challenges.use_tls_alpn({})
    alert = "unrecognized name" if waiting else "no application protocol"

    async def main() -> None:
        async with serving(ServerTLS(files.ecdsa, listeners=[])) as (port, made):
            with pytest.raises(ssl.SSLError, match=alert):
                await asyncio.to_thread(validate, port, asking("acme-tls/1"), "other.example.test")
            assert made == []

    asyncio.run(main())


def attack(port: int, version: ssl.TLSVersion, *, retried: bool = False) -> bytes:
    """What a client without a certificate gets that keeps whatever session it can get from a challenge."""
    context = asking("acme-tls/1", version=version)
    session = None
    with Conversation(port, context, NAME) as client:
        with contextlib.suppress(ssl.SSLError):
            client.shake_hands()
            client.rest()
            session = client.end.session
        assert (RETRY in client.received) is retried
    context.set_alpn_protocols(["http/1.1"])  # before there is another connection, which takes a copy
    with Conversation(port, context, NAME) as again, contextlib.suppress(ssl.SSLError):
        if session is not None:
            again.end.session = session
        again.shake_hands()
        again.end.write(b"x")
        again.send()
        return again.rest()
    return b""


@pytest.mark.parametrize(("version", "profile"), [(V12, INTERMEDIATE), (V13, INTERMEDIATE), (V13, RETRYING)])
@pytest.mark.parametrize(("auth", "answer"), [("required", b""), ("optional", b"in")])
def test_no_session_of_a_challenge_lets_anybody_in(
    files: Files, version: ssl.TLSVersion, profile: TLSProfile, auth: Any, answer: bytes
) -> None:
    async def main() -> None:
        tls = ServerTLS(files.ecdsa, profile=profile, client_ca=files.ca, client_auth=auth, listeners=[])
        async with serving(tls) as (port, made):
            retried = profile is RETRYING
            assert await asyncio.to_thread(attack, port, version, retried=retried) == answer
            assert bool(made) is (auth == "optional")

    asyncio.run(main())


@contextlib.contextmanager
def blocking(tls: ServerTLS) -> Iterator[tuple[int, list[object]]]:
    """As gunicorn's sync workers serve."""
    context = tls.create_context()
    made: list[object] = []

    def serve() -> None:
        while True:
            try:
                accepted, _ = listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), accepted, context.wrap_socket(accepted, server_side=True) as secure:
                made.append(secure)
                secure.recv(1)
                secure.sendall(b"in")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1], made
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(PATIENCE)


@pytest.mark.parametrize(("version", "profile"), [(V12, INTERMEDIATE), (V13, INTERMEDIATE), (V13, RETRYING)])
@pytest.mark.parametrize("piece", [1, 100, 1 << 16])
def test_a_blocking_worker_answers_a_ca_too(
    files: Files, version: ssl.TLSVersion, profile: TLSProfile, piece: int
) -> None:
    with blocking(ServerTLS(files.ecdsa, profile=profile, listeners=[])) as (port, made):
        assert validate(port, asking("acme-tls/1", version=version), piece=piece) == (NAME, b"")
        assert made == []
        assert get(port, asking("http/1.1", version=version))[0] == b"in"


@pytest.mark.parametrize("version", [V12, V13])
@pytest.mark.parametrize(("auth", "answer"), [("required", b""), ("optional", b"in")])
def test_no_session_of_a_blocking_worker_lets_anybody_in(
    files: Files, version: ssl.TLSVersion, auth: Any, answer: bytes
) -> None:
    with blocking(ServerTLS(files.ecdsa, client_ca=files.ca, client_auth=auth, listeners=[])) as (port, _):
        assert attack(port, version) == answer


def test_a_flood_of_validations_touches_no_file_and_no_network(files: Files) -> None:
    """Of names that are pending and of others, once each pending one has its context."""
    touched: list[tuple[str, object]] = []
    watching = False

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if watching and event in {"open", "socket.connect", "socket.getaddrinfo", "subprocess.Popen"}:
            touched.append((event, arguments[0]))

    sys.addaudithook(watch)
    context = asking("acme-tls/1")

    async def main() -> None:
        nonlocal watching
        async with serving(ServerTLS(files.ecdsa, listeners=[])) as (port, made):
            await asyncio.to_thread(validate, port, context)
            with contextlib.ExitStack() as clients:
                flood = [clients.enter_context(Conversation(port, context, name)) for name in (NAME, "x.test") * 50]
                watching = True
                for client in flood:
                    with contextlib.suppress(ssl.SSLError):
                        await asyncio.to_thread(client.shake_hands)
                watching = False
            assert made == []

    asyncio.run(main())
    assert touched == []


def test_a_required_certificate_does_not_keep_a_ca_of_tls_1_3_out(files: Files) -> None:
    """Its handshake is complete before the server learns that it has none."""

    def validate_once(port: int) -> str:
        with Conversation(port, asking("acme-tls/1"), NAME) as client:
            client.shake_hands()
            return str(client.end.selected_alpn_protocol())

    async def main() -> None:
        async with serving(ServerTLS(files.ecdsa, client_ca=files.ca, listeners=[])) as (port, made):
            assert await asyncio.to_thread(validate_once, port) == "acme-tls/1"
            assert made == []

    asyncio.run(main())


@pytest.mark.parametrize("sent", [0, 1, 30, -1], ids=["nothing", "a byte", "a part", "all but a byte"])
def test_a_client_that_leaves_at_once_holds_no_thread(files: Files, sent: int) -> None:
    """Where the handshake blocks, as under gunicorn: what will not come is not waited for until the time limit."""
    context = ServerTLS(files.ecdsa, listeners=[], handshake_timeout=10).create_context()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname(), timeout=PATIENCE) as client:
            client.sendall(hello("h2")[:sent])
        accepted, _ = listener.accept()
        with accepted, pytest.raises(ssl.SSLEOFError):
            context.wrap_socket(accepted, server_side=True)


def hello(*protocols: str) -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    end = asking(*protocols).wrap_bio(incoming, outgoing, server_hostname=NAME)
    with contextlib.suppress(ssl.SSLWantReadError):
        end.do_handshake()
    return outgoing.read()


def split(record: bytes, size: int) -> bytes:
    """The same message in records of at most this size."""
    body = record[5:]
    parts = (body[at : at + size] for at in range(0, len(body), size))
    return b"".join(record[:3] + len(part).to_bytes(2) + part for part in parts)


@pytest.mark.parametrize("size", [1, 7, 300])
def test_a_hello_in_several_records(size: int) -> None:
    assert is_validation(split(hello("acme-tls/1"), size))
    assert not is_validation(split(hello("h2", "acme-tls/1"), size))
    assert not is_validation(split(hello(), size))


@pytest.mark.parametrize("cut", range(0, 200, 9))
def test_a_hello_that_is_incomplete(cut: int) -> None:
    assert hello_in(hello("acme-tls/1")[:cut]) is None
    assert not is_validation(hello("acme-tls/1")[:cut])


@given(st.binary(max_size=400), st.integers(0, 300), st.integers(0, 8))
def test_whatever_comes(data: bytes, at: int, gone: int) -> None:
    offer = Offer(version=TLS13, suites=[0x1301], groups=[X25519], server_name=NAME)
    for each in (data, offer.record()[:at] + data + offer.record()[at + gone :]):
        assert is_validation(each) in {True, False}


@given(st.text(max_size=80))
def test_whatever_name_is_asked_for(name: str) -> None:
    assert isinstance(validated(name), str)
