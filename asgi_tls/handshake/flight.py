"""The server's first flight, read from untrusted bytes.

`FlightReader` takes bytes as they arrive, and is `done` when it has seen enough. It raises nothing: what cannot be
parsed ends the flight as "garbage".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from asgi_tls.handshake.hello import KEY_SHARE, SUPPORTED_VERSIONS, TLS13, Reader, read_extensions

Ending = Literal["hello", "alert", "closed", "reset", "timeout", "garbage"]
"""How a flight ended: complete, with a fatal alert, or with neither."""

Preference = Literal["server", "client"]

# RFC 8446 section 4.1.3: the marks that a server of TLS 1.3 or 1.2 sets when it negotiates an older version.
DOWNGRADED: Final = (b"DOWNGRD\x00", b"DOWNGRD\x01")

_HANDSHAKE: Final = 22
_ALERT: Final = 21
_SERVER_HELLO: Final = 2
_CERTIFICATE: Final = 11
_SERVER_KEY_EXCHANGE: Final = 12
_CERTIFICATE_REQUEST: Final = 13
_SERVER_HELLO_DONE: Final = 14
_CERTIFICATE_STATUS: Final = 22
_FATAL: Final = 2

_LARGEST_RECORD: Final = 16384 + 2048  # RFC 5246 section 6.2.3
_LARGEST_FLIGHT: Final = 256 * 1024
_NAMED_CURVE: Final = 3  # RFC 8422 section 5.4


@dataclass(frozen=True, kw_only=True)
class ServerHello:
    """What the server chose, in a ServerHello or a HelloRetryRequest, whose `group` is the one that it asks for."""

    version: int
    random: bytes
    suite: int
    compression: int
    extensions: dict[int, bytes]

    @property
    def group(self) -> int | None:
        """TLS 1.3: the group of the key exchange."""
        data = self.extensions.get(KEY_SHARE, b"")
        return int.from_bytes(data[:2]) if len(data) >= 2 else None


@dataclass(kw_only=True)
class Flight:
    """What the server sent before it waits for the client. Certificates are in DER, in the order they were sent."""

    hello: ServerHello | None = None
    certificates: tuple[bytes, ...] = ()
    staple: bytes | None = None
    curve: int | None = None
    dh_bits: int | None = None
    asks_for_certificate: bool = False
    alert: int | None = None
    ending: Ending = "closed"


@dataclass
class FlightReader:
    """Feed it until `done`. `ecdhe` and `dhe` are the numbers of their suites, to read ServerKeyExchange."""

    ecdhe: frozenset[int]
    dhe: frozenset[int]
    flight: Flight = field(default_factory=Flight)
    done: bool = False
    _records: bytearray = field(default_factory=bytearray)
    _messages: bytearray = field(default_factory=bytearray)
    _seen: int = 0

    def feed(self, data: bytes) -> None:
        """Read what has arrived."""
        self._seen += len(data)
        self._records += data
        try:
            while not self.done and self._take_record():
                pass
        except (ValueError, IndexError):
            self._end("garbage")
        if not self.done and self._seen > _LARGEST_FLIGHT:
            self._end("garbage")

    def end(self, ending: Ending) -> Flight:
        """Nothing more will come."""
        if not self.done:
            self._end(ending)
        return self.flight

    def _end(self, ending: Ending) -> None:
        self.flight.ending, self.done = ending, True

    def _take_record(self) -> bool:
        head = self._records[:5]
        if head and (head[0] not in range(20, 24) or (len(head) > 1 and head[1] != 3)):
            raise ValueError("no TLS record")
        size = int.from_bytes(head[3:5])
        if size > _LARGEST_RECORD:
            raise ValueError("a record too long")
        if len(head) < 5 or len(self._records) < 5 + size:
            return False
        body = bytes(self._records[5 : 5 + size])
        del self._records[: 5 + size]
        if head[0] == _ALERT:
            self._alert(body)
        elif head[0] == _HANDSHAKE:
            self._messages += body
            while not self.done and self._take_message():
                pass
        elif self.flight.hello is None:
            raise ValueError("data before the hello")
        return True

    def _alert(self, body: bytes) -> None:
        level, number = body[0], body[1]
        # A warning does not refuse: unrecognized_name (RFC 6066 section 3) may come before the hello.
        if level == _FATAL or number == 0:
            self.flight.alert = number
            self._end("alert")

    def _take_message(self) -> bool:
        if len(self._messages) < 4:
            return False
        kind, size = self._messages[0], int.from_bytes(self._messages[1:4])
        if size > _LARGEST_FLIGHT:
            raise ValueError("a message too long")
        if len(self._messages) < 4 + size:
            return False
        reader = Reader(bytes(self._messages[4 : 4 + size]))
        del self._messages[: 4 + size]
        self._message(kind, reader)
        return True

    def _message(self, kind: int, reader: Reader) -> None:
        flight = self.flight
        if (kind == _SERVER_HELLO) is (flight.hello is not None):
            raise ValueError("two hellos, or something before the first")
        if flight.hello is None:
            flight.hello = _server_hello(reader)
            if flight.hello.version == TLS13:
                self._end("hello")  # what follows is encrypted
        elif kind == _SERVER_KEY_EXCHANGE:
            self._key_exchange(flight.hello.suite, reader)
        elif kind == _SERVER_HELLO_DONE:
            self._end("hello")
        else:
            self._certificate(kind, reader)

    def _certificate(self, kind: int, reader: Reader) -> None:
        flight = self.flight
        if kind == _CERTIFICATE:
            certificates, inner = [], Reader(reader.vector(3))
            while inner.left:
                certificates.append(inner.vector(3))
            flight.certificates = tuple(certificates)
        elif kind == _CERTIFICATE_STATUS:
            if reader.take(1) == b"\x01":  # RFC 6066 section 8
                flight.staple = reader.vector(3)
        elif kind == _CERTIFICATE_REQUEST:
            flight.asks_for_certificate = True

    def _key_exchange(self, suite: int, reader: Reader) -> None:
        if suite in self.ecdhe:
            if reader.take(1)[0] == _NAMED_CURVE:
                self.flight.curve = int.from_bytes(reader.take(2))
        elif suite in self.dhe:
            self.flight.dh_bits = int.from_bytes(reader.vector(2)).bit_length()


def _server_hello(reader: Reader) -> ServerHello:
    version = int.from_bytes(reader.take(2))
    random = reader.take(32)
    reader.vector(1)  # the session id
    suite = int.from_bytes(reader.take(2))
    compression = reader.take(1)[0]
    extensions = read_extensions(reader)
    chosen = extensions.get(SUPPORTED_VERSIONS)
    return ServerHello(
        version=version if chosen is None else int.from_bytes(chosen),
        random=random,
        suite=suite,
        compression=compression,
        extensions=extensions,
    )


def eliminate(
    offered: Sequence[int], chosen: Callable[[Sequence[int]], int | None]
) -> tuple[list[int], Preference | None]:
    """What a server chooses from `offered`, one after the other, and whose order decides.

    `chosen` returns the server's choice from an offer, None if it refuses. A server with an order of its own chooses
    the same again when the order is reversed.
    """
    left, found = list(offered), list[int]()
    while left and (choice := chosen(left)) in left:
        left.remove(choice)
        found.append(choice)
    again = chosen(found[::-1]) if len(found) > 1 else None
    return found, None if again is None else "server" if again == found[0] else "client"
