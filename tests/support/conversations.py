"""Malformed and unusual conversations with a TLS server, and what the RFCs ask for in answer.

First flights are built here byte by byte; what comes later is said by tlslite-ng, with one message bent.
"""

from __future__ import annotations

import contextlib
import os
import socket
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from patience import PATIENCE
from wire import records

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it imports asyncore, where there is one
    from tlslite.constants import AlertDescription, ContentType
    from tlslite.errors import TLSAbruptCloseError, TLSLocalAlert, TLSRemoteAlert
    from tlslite.handshakesettings import HandshakeSettings
    from tlslite.messages import Alert, ClientKeyExchange, Finished, KeyUpdate, Message
    from tlslite.tlsconnection import TLSConnection

HELLO = "hello"  # the server goes on with the handshake
CLOSED = "closed"  # the end, without an alert in the clear
SILENT = "silent"  # it waits for more
DATA = "data"  # the handshake ends well, and the connection goes on

Outcome = str | int


def u8(body: bytes) -> bytes:
    return len(body).to_bytes(1) + body


def u16(body: bytes) -> bytes:
    return len(body).to_bytes(2) + body


def u24(body: bytes) -> bytes:
    return len(body).to_bytes(3) + body


def record(body: bytes, kind: int = 22, version: int = 0x0301) -> bytes:
    return bytes([kind]) + version.to_bytes(2) + u16(body)


def numbers(*values: int) -> bytes:
    return b"".join(value.to_bytes(2) for value in values)


X25519, P256, P521, UNKNOWN_GROUP = 29, 23, 25, 0x7A7A
SHARE = u16(bytes([9]) + bytes(31))  # the base point itself: a valid share
SUITES_13 = numbers(0x1301, 0x1302, 0x1303)
SUITES_12 = numbers(0xC02B, 0xC02C, 0xC02F, 0xC030)
NAME = u16(b"\x00" + u16(b"localhost"))
SIGNATURES = u16(numbers(0x0403, 0x0804, 0x0401))

EXTENSIONS: dict[int, bytes] = {
    0: NAME,
    10: u16(numbers(X25519, P256)),
    11: u8(b"\x00"),
    13: SIGNATURES,
    23: b"",
    43: u8(numbers(0x0304, 0x0303)),
    45: u8(b"\x01"),
    51: u16(numbers(X25519) + SHARE),
}
OF_12 = {number: body for number, body in EXTENSIONS.items() if number not in {43, 45, 51}}


def hello(
    extensions: dict[int, bytes] | Sequence[tuple[int, bytes]] = EXTENSIONS,
    *,
    version: int = 0x0303,
    session: bytes = bytes(32),
    suites: bytes = SUITES_13 + SUITES_12,
    compression: bytes = b"\x00",
    tail: bytes = b"",
    raw_extensions: bytes | None = None,
    **instead: Any,
) -> bytes:
    """A ClientHello, with or without its faults. `without` and `also` change the extensions."""
    pairs = list(extensions.items()) if isinstance(extensions, dict) else list(extensions)
    pairs = [pair for pair in pairs if pair[0] not in instead.get("without", ())]
    also: dict[int, bytes] = instead.get("also", {})
    pairs = [(number, also.get(number, body)) for number, body in pairs]
    pairs += [pair for pair in also.items() if pair[0] not in dict(pairs)]
    block = b"".join(number.to_bytes(2) + u16(body) for number, body in pairs)
    body = version.to_bytes(2) + os.urandom(32) + u8(session) + u16(suites) + u8(compression)
    body += (u16(block) if raw_extensions is None else raw_extensions) + tail
    return b"\x01" + u24(body)


@dataclass(frozen=True)
class Conversation:
    """`say` is the first flight, or a function that talks by itself. `wanted`: any of these is right."""

    name: str
    say: Callable[[], bytes] | Callable[[int], Outcome]
    wanted: tuple[Outcome, ...]
    talks: bool = False

    def hold(self, port: int) -> Outcome:
        if self.talks:
            return self.say(port)  # type: ignore[call-arg,return-value]
        return listen(port, self.say(), timeout=0.7 if SILENT in self.wanted else PATIENCE)  # type: ignore[call-arg,arg-type]


def listen(port: int, flight: bytes, *, timeout: float) -> Outcome:
    """Say it, and tell what comes: an alert's number, HELLO, CLOSED or SILENT."""
    data = b""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as sock:
        with contextlib.suppress(ConnectionError):
            sock.sendall(flight)
        try:
            while chunk := sock.recv(65536):
                data += chunk
                for kind, body in records(data):
                    if kind == 21 and len(body) == 2:
                        return body[1]
                    if kind == 22 and body[:1] == b"\x02":
                        return HELLO
        except TimeoutError:
            return SILENT
        except ConnectionError:
            return "reset"
    return CLOSED


def first(name: str, flight: Callable[[], bytes], *wanted: Outcome) -> Conversation:
    return Conversation(name, flight, wanted)


class Bent(TLSConnection):  # type: ignore[misc]  # it ships no type information
    """A client that changes or adds messages: `bend` takes each message, and gives what is sent in its place."""

    bend: Callable[[Any], list[Any]] | None = None

    def _sendMsg(self, msg: Any, randomizeFirstBlock: bool = True, update_hashes: bool = True) -> Any:  # noqa: N802, N803
        for each in [msg] if self.bend is None else self.bend(msg):
            yield from super()._sendMsg(each, randomizeFirstBlock, update_hashes)


def talk(
    port: int,
    version: tuple[int, int],
    *,
    bend: Callable[[Any], list[Any]] | None = None,
    after: Callable[[Bent], None] | None = None,
) -> Outcome:
    """Shake hands with tlslite-ng, then say what `after` says, and tell what comes back."""
    settings = HandshakeSettings()
    settings.minVersion = settings.maxVersion = version
    settings.keyShares = ["x25519"]
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = Bent(sock)
        client.bend = bend
        client.ignoreAbruptClose = False
        try:
            client.handshakeClientCert(settings=settings, serverName="localhost")
            if after is None:
                client.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            else:
                after(client)
            return DATA if client.read(min=1, max=16) else CLOSED
        except TLSRemoteAlert as alert:
            return int(alert.description)
        except TLSAbruptCloseError:
            return CLOSED
        except TLSLocalAlert as alert:
            return f"local {alert.description}"
        except TimeoutError:
            return SILENT
        except ConnectionError:
            return "reset"


def talking(name: str, version: tuple[int, int], *wanted: Outcome, **how: Any) -> Conversation:
    return Conversation(name, lambda port: talk(port, version, **how), wanted, talks=True)


V12, V13 = (3, 3), (3, 4)


def bad_finished(message: Any) -> list[Any]:
    if isinstance(message, Finished):
        message.verify_data = bytearray(message.verify_data)
        message.verify_data[0] ^= 1
    return [message]


def short_finished(message: Any) -> list[Any]:
    if isinstance(message, Finished):
        message.verify_data = bytearray(message.verify_data)[:-1]
    return [message]


def bad_point(message: Any) -> list[Any]:
    if isinstance(message, ClientKeyExchange):
        message.ecdh_Yc = bytearray(len(message.ecdh_Yc))
    return [message]


def instead_of(kind: type, *messages: Callable[[], Any]) -> Callable[[Any], list[Any]]:
    return lambda message: [make() for make in messages] if isinstance(message, kind) else [message]


def alert(level: int, description: int) -> Callable[[], Any]:
    return lambda: Alert().create(description, level)


def raw(kind: int, body: bytes) -> Callable[[], Any]:
    return lambda: Message(kind, bytearray(body))


def send(make: Callable[[], Any]) -> Callable[[Bent], None]:
    def after(client: Bent) -> None:
        for _ in client._sendMsg(make()):
            pass

    return after


def broken_record(client: Bent) -> None:
    """A record under the right keys with one bit wrong."""
    client.sock.sendall(b"\x17\x03\x03\x00\x30" + os.urandom(48))


def heartbeat(client: Bent) -> None:
    client.sock.sendall(b"\x18\x03\x03\x00\x20" + os.urandom(32))


def second_hello(client: Bent) -> None:
    send(raw(ContentType.handshake, hello()))(client)


def renegotiate(client: Bent) -> None:
    body = hello(OF_12, suites=SUITES_12, also={0xFF01: u8(b"")})
    send(raw(ContentType.handshake, body))(client)


A = AlertDescription
DECODE = (A.decode_error, A.illegal_parameter)
ENDS = (CLOSED, "reset")

TICKET = u16(u16(bytes(32)) + bytes(4)) + u16(u8(bytes(32)))

CONVERSATIONS: tuple[Conversation, ...] = (
    # What is right, however odd, goes on.
    first("plain TLS 1.3", lambda: record(hello()), HELLO),
    first("plain TLS 1.2", lambda: record(hello(OF_12, suites=SUITES_12)), HELLO),
    first("extensions the other way round", lambda: record(hello(list(reversed(EXTENSIONS.items())))), HELLO),
    first("one byte a record", lambda: b"".join(record(bytes([byte])) for byte in hello()), HELLO),
    first("two records", lambda: record((data := hello())[:50]) + record(data[50:]), HELLO),
    first("record version 3.0", lambda: record(hello(), version=0x0300), HELLO),
    first("record version 3.4", lambda: record(hello(), version=0x0304), HELLO),
    first("GREASE everywhere", lambda: record(hello(
        suites=numbers(0x8A8A) + SUITES_13,
        also={43: u8(numbers(0x9A9A, 0x0304)), 10: u16(numbers(0xAAAA, X25519)), 0xBABA: b""})), HELLO),
    first("an unknown extension of 10 kB", lambda: record(hello(also={0x7777: bytes(10_000)})), HELLO),
    first("empty key share asks for another hello", lambda: record(hello(also={51: u16(b"")})), HELLO),
    first("key share of an unknown group", lambda: record(hello(also={
        10: u16(numbers(UNKNOWN_GROUP, X25519)), 51: u16(numbers(UNKNOWN_GROUP) + u16(bytes(20)))})), HELLO),
    first("a name that ends with a dot", lambda: record(hello(also={0: u16(b"\x00" + u16(b"localhost."))})), HELLO,
          A.unrecognized_name),
    first("ALPN that nobody speaks", lambda: record(hello(also={16: u16(u8(b"spdy/9"))})),
          A.no_application_protocol),
    first("heartbeat extension", lambda: record(hello(also={15: b"\x01"})), HELLO),
    first("padding", lambda: record(hello(also={21: bytes(300)})), HELLO),
    first("no session id", lambda: record(hello(session=b"")), HELLO),
    first("early data without a ticket", lambda: record(hello(also={42: b""})), HELLO, *DECODE),
    # Records.
    first("application data first", lambda: record(b"x" * 16, 23, 0x0303), A.unexpected_message),
    first("heartbeat first", lambda: record(b"\x01\x00\x10" + bytes(32), 24, 0x0303), A.unexpected_message),
    first("change cipher spec first", lambda: record(b"\x01", 20, 0x0303), A.unexpected_message),
    first("an empty handshake record", lambda: record(b""), A.unexpected_message, A.decode_error, SILENT),
    first("record version 5.5", lambda: record(hello(), version=0x0505), A.protocol_version),
    first("record of 2^14+1 bytes", lambda: record(bytes(2**14 + 1)), A.record_overflow, A.decode_error,
          A.unexpected_message),
    first("record of 65535 bytes", lambda: record(bytes(65535)), A.record_overflow),
    first("no TLS at all", lambda: b"\xde\xad\xbe\xef" * 8, A.unexpected_message),
    first("SSL 2.0 hello", lambda: b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10" + bytes(37), A.protocol_version,
          A.handshake_failure, A.unexpected_message, A.decode_error),
    first("alert close_notify first", lambda: record(b"\x01\x00", 21), *ENDS, A.unexpected_message),
    first("fatal alert first", lambda: record(b"\x02\x28", 21), *ENDS, A.unexpected_message),
    first("an alert of one byte", lambda: record(b"\x02", 21), A.decode_error, A.unexpected_message),
    # Handshake messages.
    first("server hello first", lambda: record(b"\x02" + hello()[1:]), A.unexpected_message),
    first("finished first", lambda: record(b"\x14" + u24(bytes(32))), A.unexpected_message),
    first("hello request first", lambda: record(b"\x00" + u24(b"")), A.unexpected_message),
    first("message of 16 MB announced", lambda: record(b"\x01\xff\xff\xff" + bytes(50)), A.illegal_parameter,
          A.decode_error, A.unexpected_message),
    first("hello cut short", lambda: record(b"\x01" + u24(hello()[4:40])), A.decode_error),
    first("hello with a tail", lambda: record(hello(tail=b"\x00" * 5)), A.decode_error),
    first("two hellos in one record", lambda: record(hello() + hello()), A.unexpected_message),
    first("session id of 33 bytes", lambda: record(hello(session=bytes(33))), *DECODE),
    first("no suites", lambda: record(hello(suites=b"")), *DECODE),
    first("half a suite", lambda: record(hello(suites=SUITES_13 + b"\x00")), *DECODE),
    first("unknown suites only", lambda: record(hello(suites=numbers(0x7777, 0x8888))), A.handshake_failure),
    first("only the signalling suite", lambda: record(hello(suites=numbers(0x00FF))), A.handshake_failure),
    first("no compression method", lambda: record(hello(compression=b"")), *DECODE),
    first("compression in TLS 1.3", lambda: record(hello(compression=b"\x01\x00")), A.illegal_parameter),
    first("compression without null", lambda: record(hello(OF_12, suites=SUITES_12, compression=b"\x01")), *DECODE),
    # RFC 6101 has no protocol_version: OpenSSL says to a client of SSL 3.0 what such a client knows.
    first("SSL 3.0", lambda: record(hello(OF_12, version=0x0300, suites=SUITES_12)), A.protocol_version,
          A.handshake_failure),
    first("TLS 1.0", lambda: record(hello(OF_12, version=0x0301, suites=SUITES_12)), A.protocol_version),
    first("TLS 1.1", lambda: record(hello(OF_12, version=0x0302, suites=SUITES_12)), A.protocol_version),
    first("fallback from TLS 1.3", lambda: record(hello(OF_12, suites=SUITES_12 + numbers(0x5600))),
          A.inappropriate_fallback),
    first("versions without a known one", lambda: record(hello(also={43: u8(numbers(0x7F1C))})), A.protocol_version),
    # Extensions.
    first("extensions longer than the message", lambda: record(hello(raw_extensions=b"\xff\xff")), A.decode_error),
    first("an extension longer than the list", lambda: record(hello(raw_extensions=u16(b"\x00\x00\x00\xff"))),
          A.decode_error),
    first("an extension twice", lambda: record(hello([*EXTENSIONS.items(), (10, EXTENSIONS[10])])), *DECODE),
    # OpenSSL looks for a version before it looks whether the list is well formed.
    first("no versions in the list", lambda: record(hello(also={43: u8(b"")})), *DECODE, A.protocol_version),
    first("half a version", lambda: record(hello(also={43: u8(b"\x03\x04\x03")})), *DECODE, A.protocol_version),
    first("no key share", lambda: record(hello(without={51})), A.missing_extension, A.handshake_failure),
    first("key share without groups", lambda: record(hello(without={10})), A.missing_extension),
    first("no signature algorithms", lambda: record(hello(without={13})), A.missing_extension),
    first("empty signature algorithms", lambda: record(hello(also={13: u16(b"")})), *DECODE),
    first("unknown signature algorithms only", lambda: record(hello(also={13: u16(numbers(0x7777))})),
          A.handshake_failure),
    first("empty groups", lambda: record(hello(also={10: u16(b"")})), *DECODE),
    first("unknown groups only", lambda: record(hello(also={10: u16(numbers(UNKNOWN_GROUP)), 51: u16(b"")})),
          A.handshake_failure),
    first("key share too short", lambda: record(hello(also={51: u16(numbers(X25519) + u16(bytes(31)))})), *DECODE),
    first("key share of zeros", lambda: record(hello(also={51: u16(numbers(X25519) + u16(bytes(32)))})), *DECODE,
          A.internal_error),
    first("key share not on its curve", lambda: record(hello(also={
        10: u16(numbers(P256)), 51: u16(numbers(P256) + u16(b"\x04" + bytes(63) + b"\x07"))})), *DECODE),
    first("key share outside of the groups", lambda: record(hello(also={10: u16(numbers(P256))})), *DECODE),
    first("empty name list", lambda: record(hello(also={0: u16(b"")})), *DECODE),
    first("a name with a null", lambda: record(hello(also={0: u16(b"\x00" + u16(b"local\x00host"))})), *DECODE,
          A.unrecognized_name),
    first("a name that is no ASCII", lambda: record(hello(also={0: u16(b"\x00" + u16(b"\xff\xfe"))})), *DECODE,
          A.unrecognized_name, A.internal_error, A.handshake_failure, HELLO),
    first("empty ALPN", lambda: record(hello(also={16: u16(b"")})), *DECODE),
    first("ALPN with an empty name", lambda: record(hello(also={16: u16(b"\x00")})), *DECODE),
    first("fragment length 9", lambda: record(hello(also={1: b"\x09"})), *DECODE),
    first("renegotiation out of nothing", lambda: record(hello(OF_12, suites=SUITES_12, also={0xFF01: u8(bytes(12))})),
          A.handshake_failure, *DECODE),
    first("ticket without a way to use it", lambda: record(hello(without={45}, also={
        41: TICKET})), A.missing_extension, *DECODE),
    first("ticket before other extensions", lambda: record(hello([
        (41, TICKET), *EXTENSIONS.items()])), *DECODE),
    first("unknown ticket", lambda: record(hello(also={41: TICKET})), HELLO),
    # Later on.
    talking("whole TLS 1.3", V13, DATA),
    talking("whole TLS 1.2", V12, DATA),
    talking("bad finished, TLS 1.3", V13, A.decrypt_error, bend=bad_finished),
    talking("bad finished, TLS 1.2", V12, A.decrypt_error, bend=bad_finished),
    talking("short finished, TLS 1.3", V13, A.decode_error, A.decrypt_error, bend=short_finished),
    talking("short finished, TLS 1.2", V12, A.decode_error, A.decrypt_error, bend=short_finished),
    talking("bad point, TLS 1.2", V12, *DECODE, bend=bad_point),
    talking("no key exchange, TLS 1.2", V12, A.unexpected_message, bend=instead_of(ClientKeyExchange)),
    talking("alert in place of finished, TLS 1.3", V13, *ENDS, bend=instead_of(Finished, alert(2, A.bad_certificate))),
    talking("alert in place of key exchange, TLS 1.2", V12, *ENDS,
            bend=instead_of(ClientKeyExchange, alert(2, A.unknown_ca))),
    talking("data in place of finished, TLS 1.3", V13, A.unexpected_message,
            bend=instead_of(Finished, raw(ContentType.application_data, b"GET / HTTP/1.1\r\n\r\n"))),
    talking("hello in place of finished, TLS 1.3", V13, A.unexpected_message,
            bend=instead_of(Finished, raw(ContentType.handshake, hello()))),
    talking("broken record, TLS 1.3", V13, A.bad_record_mac, after=broken_record),
    talking("broken record, TLS 1.2", V12, A.bad_record_mac, after=broken_record),
    talking("heartbeat, TLS 1.3", V13, A.unexpected_message, after=heartbeat),
    talking("heartbeat, TLS 1.2", V12, A.unexpected_message, A.bad_record_mac, after=heartbeat),
    talking("second hello, TLS 1.3", V13, A.unexpected_message, after=second_hello),
    # RFC 5246 section 7.2.2: no_renegotiation is a warning; the client may go on or leave.
    talking("renegotiation, TLS 1.2", V12, A.no_renegotiation, A.handshake_failure, after=renegotiate),
    talking("key update with a bad value, TLS 1.3", V13, *DECODE,
            after=send(lambda: KeyUpdate().create(7))),
    talking("fatal alert at the end, TLS 1.3", V13, *ENDS, after=send(alert(2, A.internal_error))),
    talking("fatal alert at the end, TLS 1.2", V12, *ENDS, after=send(alert(2, A.internal_error))),
    talking("unknown message, TLS 1.3", V13, A.unexpected_message,
            after=send(raw(ContentType.handshake, b"\x63" + u24(bytes(4))))),
)  # fmt: skip
