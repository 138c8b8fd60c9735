"""What clients do at a server, each kind in a thread of its own, again and again; and which of their visits are lost.

traffic = Traffic(port, plain_port, ca=…, friend=…, stranger=…)
with traffic.running():
    …
traffic.visits, traffic.losses

A visit knows the addresses that it came from. So it can be told whose connections a killed worker had.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import ssl
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import load
from handshakes import client
from load import Answer
from patience import PATIENCE
from websocket import talk
from wire import hello

from asgi_tls import PEMFiles

V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
LONG = 1_000_000  # the bytes of a download: a server may keep the last one
_SILENT_AT_ONCE = 5
# So many visits come from an address that scans, more than the guard allows; then the next one is taken.
_SCANS = 30
# A session is read once in so many visits: each time, CPython copies it and loses the copy (ran: 3.11.7, valgrind).
_SESSION_EVERY = 10

Address = tuple[str, int]


@dataclass(frozen=True)
class Loss:
    """A visit that did not get what it came for. Times are of `time.monotonic`."""

    kind: str
    addresses: frozenset[Address]
    begin: float
    end: float
    error: str


@contextlib.contextmanager
def started(threads: Sequence[threading.Thread], stop: threading.Event) -> Iterator[None]:
    """The threads run until the block is left, which sets `stop` and waits for them."""
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@dataclass
class Traffic:
    """Clients of the server at `port`, and of its plain port. `ca` is PEM text.

    The server trusts the certificate of `friend` and asks for it; it does not know who has issued that of `stranger`.
    """

    port: int
    plain_port: int
    ca: str
    friend: PEMFiles
    stranger: PEMFiles
    visits: Counter[str] = field(default_factory=Counter)
    resumed: int = 0
    losses: list[Loss] = field(default_factory=list)
    workers: dict[int, float] = field(default_factory=dict)
    """Processes that have answered, and when last."""
    certificates: Counter[bytes] = field(default_factory=Counter)
    """What was served, DER."""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._stop = threading.Event()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """All kinds of clients, until the block is left."""
        with started(
            [threading.Thread(target=self._again, args=(kind(self), pause)) for kind, pause in KINDS], self._stop
        ):
            yield

    @property
    def has_all(self) -> bool:
        """Whether each kind has made a visit, but for the silent ones, which takes as long as a handshake may."""
        return {kind.__name__.lower() for kind, _ in KINDS if kind is not Silent} <= self.visits.keys()

    def wait(self, seconds: float) -> bool:
        """Whether the end has come meanwhile."""
        return self._stop.wait(seconds)

    def _again(self, visitor: Visitor, pause: float) -> None:
        kind = type(visitor).__name__.lower()
        while not self._stop.is_set():
            begin = time.monotonic()
            visitor.addresses.clear()
            try:
                visitor.visit()
            except Exception as error:  # noqa: BLE001 -- whatever went wrong is a visit that is lost
                end = time.monotonic()
                with self._lock:
                    self.losses.append(Loss(kind, frozenset(visitor.addresses), begin, end, repr(error)))
            with self._lock:
                self.visits[kind] += 1
            self._stop.wait(pause)

    def note(self, *, worker: int | None = None, certificate: bytes | None = None, resumed: bool = False) -> None:
        with self._lock:
            self.resumed += resumed
            if worker is not None:
                self.workers[worker] = time.monotonic()
            if certificate is not None:
                self.certificates[certificate] += 1


class Visitor:
    """One kind of client. `visit` raises whatever it raises where it does not get what it came for."""

    def __init__(self, traffic: Traffic) -> None:
        self.traffic = traffic
        self.addresses: set[Address] = set()
        self.turns = itertools.count()

    def visit(self) -> None:
        raise NotImplementedError

    def tcp(self, port: int | None = None, *, source: str = "127.0.0.1") -> socket.socket:
        """A connection."""
        sock = socket.socket()
        sock.settimeout(PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.bind((source, 0))
        self.addresses.add(sock.getsockname())
        try:
            sock.connect(("127.0.0.1", port or self.traffic.port))
        except OSError:
            sock.close()
            raise
        return sock

    @contextlib.contextmanager
    def tls(self, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> Iterator[ssl.SSLSocket]:
        """A connection over TLS."""
        with (
            self.tcp() as raw,
            context.wrap_socket(raw, server_hostname="localhost", session=session) as secure,
        ):
            self.traffic.note(certificate=secure.getpeercert(binary_form=True))
            yield secure

    def get(self, secure: ssl.SSLSocket, path: str = "/", *, close: bool = True) -> Answer:
        """The answer to a GET."""
        answer = load.fetch(secure, path, close=close)
        self.traffic.note(worker=answer.worker)
        return answer

    def read(self, receive: Callable[[int], bytes]) -> Answer:
        """One answer."""
        answer = load.read(receive)
        self.traffic.note(worker=answer.worker)
        return answer


def facts(answer: Answer) -> dict[str, Any]:
    """What the application says about the connection."""
    found: dict[str, Any] = json.loads(answer.body)
    return found


class New(Visitor):
    """A full handshake, of TLS 1.2 and 1.3 in turns."""

    def __init__(self, traffic: Traffic) -> None:
        super().__init__(traffic)
        self._contexts = [client(ca=traffic.ca, minimum=version, maximum=version) for version in (V12, V13)]

    def visit(self) -> None:
        with self.tls(self._contexts[next(self.turns) % 2]) as secure:
            found = facts(self.get(secure))
            assert found["protocol"] == secure.version()
            assert not found["resumed"]


class Resumed(Visitor):
    """Comes back with its session, which it may have from another worker."""

    def __init__(self, traffic: Traffic) -> None:
        super().__init__(traffic)
        self._contexts = [client(ca=traffic.ca, minimum=version, maximum=version) for version in (V12, V13)]
        self._sessions: list[ssl.SSLSession | None] = [None, None]

    def visit(self) -> None:
        turn = next(self.turns)
        version = turn % 2
        with self.tls(self._contexts[version], self._sessions[version]) as secure:
            found = facts(self.get(secure))
            assert found["resumed"] == secure.session_reused
            if not secure.session_reused or turn // 2 % _SESSION_EVERY == 0:
                self._sessions[version] = secure.session
            self.traffic.note(resumed=bool(secure.session_reused))


class Kept(Visitor):
    """One connection with many requests, over several renewals."""

    def visit(self) -> None:
        with self.tls(client(ca=self.traffic.ca)) as secure:
            worker = self.get(secure, close=False).worker
            for _ in range(30):
                if self.traffic.wait(0.1):
                    break
                assert self.get(secure, close=False).worker == worker
            self.get(secure)


class Slow(Visitor):
    """Sends its handshake and its request in small pieces, and reads in small ones."""

    def visit(self) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        end = client(ca=self.traffic.ca).wrap_bio(incoming, outgoing, server_hostname="localhost")
        with self.tcp() as sock:

            def drive(step: Callable[[], Any]) -> Any:
                while True:
                    try:
                        done = step()
                    except ssl.SSLWantReadError:
                        self._send(sock, outgoing.read())
                        incoming.write(load.received(sock.recv(512)))
                    else:
                        self._send(sock, outgoing.read())
                        return done

            drive(end.do_handshake)
            drive(lambda: end.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
            self.read(lambda size: drive(lambda: end.read(size)))

    def _send(self, sock: socket.socket, data: bytes) -> None:
        for at in range(0, len(data), 100):
            sock.sendall(data[at : at + 100])
            self.traffic.wait(0.05)


class MTLS(Visitor):
    """A client with a certificate, whose name the application learns."""

    def __init__(self, traffic: Traffic) -> None:
        super().__init__(traffic)
        self._context = client(ca=traffic.ca)
        self._context.load_cert_chain(traffic.friend.certfile, traffic.friend.keyfile)

    def visit(self) -> None:
        with self.tls(self._context) as secure:
            assert facts(self.get(secure))["extension"]["client_cert_name"] == "CN=client.example"


class WebSocket(Visitor):
    """Gets one message."""

    def visit(self) -> None:
        context = client(ca=self.traffic.ca, alpn=["http/1.1"])
        said = talk("wss://localhost/", sock=self.tcp(), ssl=context)
        assert json.loads(said.message)["scheme"] == "wss"


class Download(Visitor):
    """Gets a long answer."""

    def visit(self) -> None:
        with self.tls(client(ca=self.traffic.ca)) as secure:
            assert len(self.get(secure, f"/long?{LONG}").body) == LONG


class Plain(Visitor):
    """Speaks plain HTTP to the TLS port, and to the plain one."""

    def visit(self) -> None:
        for port in (self.traffic.port, self.traffic.plain_port):
            with self.tcp(port) as sock:
                sock.sendall(b"GET /path HTTP/1.1\r\nHost: localhost:%d\r\nConnection: close\r\n\r\n" % port)
                answer = b"".join(iter(lambda: sock.recv(65536), b""))
            assert answer.startswith((b"HTTP/1.1 307 ", b"HTTP/1.1 308 ")), answer
            assert b"https://localhost:%d/path\r\n" % self.traffic.port in answer, answer


class Failing(Visitor):
    """Handshakes that fail in several ways, most of which the guard takes for a browser's."""

    def __init__(self, traffic: Traffic) -> None:
        super().__init__(traffic)
        stranger = client(ca=traffic.ca)
        stranger.load_cert_chain(traffic.stranger.certfile, traffic.stranger.keyfile)
        with warnings.catch_warnings(action="ignore"):  # this version is deprecated
            old = client(minimum=ssl.TLSVersion.MINIMUM_SUPPORTED, maximum=ssl.TLSVersion.TLSv1_1)
        old.set_ciphers("ALL:@SECLEVEL=0")
        self._contexts = [
            stranger,
            old,
            client(ca=Path(traffic.stranger.certfile).read_text(encoding="ascii")),
            client(alpn=["nothing"]),
        ]
        begin = hello()
        self._bytes = [begin, begin[:40], b"", begin + b"\x17\x03\x03\x00\x05abcde"]

    def visit(self) -> None:
        turn = next(self.turns)
        way = turn % (len(self._contexts) + len(self._bytes))
        with self.tcp(source=address(1, turn // _SCANS)) as sock:
            if way < len(self._contexts):
                with contextlib.suppress(ConnectionError, ssl.SSLError):
                    with self._contexts[way].wrap_socket(sock, server_hostname="localhost") as secure:
                        secure.recv(1)
                    raise AssertionError(f"the server has let in client {way}")
            else:
                with contextlib.suppress(ConnectionError):
                    sock.sendall(self._bytes[way - len(self._contexts)])
                    if turn % 2:  # half of them wait for what the server says
                        sock.shutdown(socket.SHUT_WR)
                        while sock.recv(4096):
                            pass


class Scanning(Visitor):
    """Garbage, from addresses that the guard blocks after a while. Then they get nothing more."""

    def visit(self) -> None:
        with self.tcp(source=address(101, next(self.turns) // _SCANS)) as sock, contextlib.suppress(ConnectionError):
            sock.sendall(b"\x01" * 20)
            while sock.recv(4096):
                pass


def address(first: int, number: int) -> str:
    """A loopback address: one of a hundred networks, from 127.`first`."""
    network, host = divmod(number % 5_000_000, 200)
    return f"127.{first + network // 250}.{network % 250}.{1 + host}"


class Silent(Visitor):
    """Connections that send nothing. The server ends them when their time is over."""

    def visit(self) -> None:
        with contextlib.ExitStack() as stack:
            for sock in [stack.enter_context(self.tcp()) for _ in range(_SILENT_AT_ONCE)]:
                sock.settimeout(0.5)
                deadline = time.monotonic() + PATIENCE
                while not self.traffic.wait(0):
                    with contextlib.suppress(TimeoutError, ConnectionResetError):
                        assert sock.recv(1) == b""
                        break
                    assert time.monotonic() < deadline, "the server does not end a silent connection"


KINDS: list[tuple[type[Visitor], float]] = [
    (New, 0.02), (New, 0.02), (Resumed, 0.02), (Resumed, 0.02), (Kept, 0.1), (Kept, 0.1), (Slow, 0.1), (Slow, 0.1),
    (MTLS, 0.1), (WebSocket, 0.2), (Download, 0.3), (Plain, 0.2), (Failing, 0.1), (Scanning, 0.05),
    (Silent, 0.1),
]  # fmt: skip
"""The clients, and how long each pauses after a visit, in seconds."""
