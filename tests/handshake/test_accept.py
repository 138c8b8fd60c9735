"""The listening side in this process: what failed handshakes leave behind, and what is not even given a transport."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import ssl
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvloop
from files import Files
from handshakes import client
from patience import until_in_loop
from wire import hello

from asgi_tls import ServerTLS
from asgi_tls.events import ClientErrorEvent, Event, SessionEvent

LOOPS = pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])


class Nobody(asyncio.Protocol):
    __slots__ = ("__weakref__",)


@dataclass
class Listening:
    """A server with an application protocol that does nothing."""

    port: int = 0
    made: int = 0
    protocols: weakref.WeakSet[asyncio.Protocol] = field(default_factory=weakref.WeakSet)
    codes: Counter[str] = field(default_factory=Counter)

    def protocol(self) -> asyncio.Protocol:
        protocol = Nobody()
        self.made += 1
        self.protocols.add(protocol)
        return protocol

    def hear(self, event: Event) -> None:
        if isinstance(event, ClientErrorEvent):
            self.codes[event.code] += 1
        elif isinstance(event, SessionEvent):
            self.codes["session"] += 1


@contextlib.asynccontextmanager
async def listening(files: Files, timeout: float) -> AsyncIterator[Listening]:
    found = Listening()
    tls = ServerTLS({"localhost": files.ecdsa}, listeners=[found.hear], handshake_timeout=timeout)
    context = tls.create_context()  # first: it changes create_server
    server = await asyncio.get_running_loop().create_server(found.protocol, "127.0.0.1", 0, ssl=context)
    async with server:
        found.port = server.sockets[0].getsockname()[1]
        yield found


@contextlib.contextmanager
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def say(port: int, data: bytes, *, finish: bool = False) -> None:
    """Connect, send, and read to the end unless it is to be left at once."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as sock, contextlib.suppress(ConnectionError):
        sock.sendall(data)
        if finish:
            sock.shutdown(socket.SHUT_WR)
        while sock.recv(4096):
            pass


def refuse(port: int, context: ssl.SSLContext) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as sock, contextlib.suppress(ssl.SSLError):
        context.wrap_socket(sock, server_hostname="localhost").close()


FAILURES: list[tuple[str, Callable[[int], None]]] = [
    ("WRONG_VERSION_NUMBER", lambda port: say(port, b"\x01" * 20)),
    ("UNRECOGNIZED_NAME", lambda port: say(port, hello(server_name="elsewhere.example"))),
    ("HTTP_REQUEST", lambda port: say(port, b"GET / HTTP/1.1\r\n\r\n")),
    ("CONNECTION_CLOSED", lambda port: say(port, hello()[:100], finish=True)),
    ("NO_DATA", lambda port: say(port, b"", finish=True)),
    ("HANDSHAKE_TIMEOUT", lambda port: say(port, hello()[:100])),
    ("TLSV1_ALERT_UNKNOWN_CA", lambda port: refuse(port, ssl.create_default_context())),
]


@LOOPS
def test_a_failed_handshake_leaves_nothing_for_the_garbage_collector(
    files: Files, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """A connection of asyncio holds 256 kB, and the collector comes every few thousand of them."""

    async def main() -> None:
        async with listening(files, 0.3) as server:
            loop = asyncio.get_running_loop()
            with without_collector():
                for code, fail in FAILURES:
                    for _ in range(3):
                        await loop.run_in_executor(None, fail, server.port)
                    await until_in_loop(lambda code=code: server.codes[code] == 3)  # type: ignore[misc]
                assert server.made == 3 * len(FAILURES)
                await until_in_loop(lambda: not server.protocols)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())


@LOOPS
def test_a_broken_record_leaves_nothing_for_the_garbage_collector_either(
    files: Files, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """As under hypercorn, whose streams keep the error and raise it again."""

    def break_record(port: int) -> None:
        context = client(ca=files.ca_text)
        with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
            secure = context.wrap_socket(sock.dup(), server_hostname="localhost")
            sock.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
            with contextlib.suppress(OSError):
                while sock.recv(4096):
                    pass
            secure.close()

    async def main() -> None:
        streams: weakref.WeakSet[asyncio.StreamReader] = weakref.WeakSet()
        reasons: list[str | None] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            streams.add(reader)
            try:
                await reader.read(100)
            except ssl.SSLError as error:
                reasons.append(error.reason)
            writer.close()

        context = ServerTLS(files.ecdsa, listeners=[]).create_context()
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        async with server:
            port = server.sockets[0].getsockname()[1]
            with without_collector():
                for _ in range(3):
                    await asyncio.get_running_loop().run_in_executor(None, break_record, port)
                await until_in_loop(lambda: len(reasons) == 3)
                # The first is what OpenSSL 3.2 and later say.
                assert set(reasons) <= {"RECORD_LAYER_FAILURE", "DECRYPTION_FAILED_OR_BAD_RECORD_MAC"}
                await until_in_loop(lambda: not streams)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())


def send_on(port: int, context: ssl.SSLContext, what: str) -> bytes:
    """Read to close_notify, and send more instead of an answer."""
    incoming, outgoing, answer = ssl.MemoryBIO(), ssl.MemoryBIO(), b""
    ours = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:

        def until(step: Callable[[], Any]) -> Any:
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    sock.sendall(outgoing.read())
                    incoming.write(sock.recv(65536))
                finally:
                    sock.sendall(outgoing.read())

        until(ours.do_handshake)
        ours.write(b"x")
        with contextlib.suppress(ssl.SSLZeroReturnError):
            while chunk := until(lambda: ours.read(65536)):
                answer += chunk
        with contextlib.suppress(ConnectionError):
            for _ in range(3):
                ours.write(b"GET / HTTP/1.1\r\n\r\n")
                sock.sendall(outgoing.read() if what == "a request" else b"\x17\x03\x03\x00\x20" + bytes(32))
            while sock.recv(65536):
                pass
    return answer


@LOOPS
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
@pytest.mark.parametrize("what", ["a request", "a broken record"])
def test_what_comes_behind_the_end_is_no_error(
    files: Files, new_loop: Callable[[], asyncio.AbstractEventLoop], version: ssl.TLSVersion, what: str
) -> None:
    """hypercorn waits for the end of each connection, and an error there ended its worker as it stopped."""
    context = client(ca=files.ca_text, minimum=version, maximum=version)

    async def main() -> None:
        ended: asyncio.Queue[BaseException | None] = asyncio.Queue()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.write(b"answer")
            writer.close()
            try:
                await writer.wait_closed()
            except Exception as error:  # noqa: BLE001 -- which is what the test is about
                ended.put_nowait(error)
            else:
                ended.put_nowait(None)

        served = ServerTLS(files.ecdsa, listeners=[]).create_context()
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=served)
        async with server:
            port = server.sockets[0].getsockname()[1]
            answer = await asyncio.get_running_loop().run_in_executor(None, send_on, port, context, what)
            assert answer == b"answer"
            assert await asyncio.wait_for(ended.get(), 10) is None

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())


@LOOPS
def test_who_leaves_while_others_shake_hands_gets_no_transport(
    files: Files, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def main() -> None:
        async with listening(files, 10.0) as server:
            loop = asyncio.get_running_loop()
            busy = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(64)]
            with contextlib.ExitStack() as stack:
                for sock in busy:
                    stack.enter_context(sock)
                    sock.sendall(hello()[:100])
                await until_in_loop(lambda: server.made == len(busy))
                for data in (b"", hello(), hello()[:100]):
                    for _ in range(20):
                        socket_ = socket.create_connection(("127.0.0.1", server.port))
                        socket_.sendall(data)
                        socket_.close()
                await until_in_loop(lambda: server.codes["NO_DATA"] == 20 and server.codes["CONNECTION_CLOSED"] == 40)
                assert server.made == len(busy)
                # Who stays is served, and who asks in plain HTTP and half closes is answered.
                await loop.run_in_executor(None, refuse, server.port, client(ca=files.ca_text))
                request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
                await loop.run_in_executor(None, lambda: say(server.port, request, finish=True))
                await until_in_loop(lambda: server.codes["session"] == 1 and server.codes["HTTP_REQUEST"] == 1)
                assert server.made == len(busy) + 2

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())


@LOOPS
def test_it_binds_as_the_loop_does(
    files: Files, new_loop: Callable[[], asyncio.AbstractEventLoop], tmp_path: Path
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        context = ServerTLS(files.ecdsa, listeners=[]).create_context()
        peer = client(ca=files.ca_text)

        async def visit(server: asyncio.AbstractServer, address: Any, family: int) -> None:
            async with server:
                sock = socket.socket(family)
                sock.setblocking(False)
                await loop.sock_connect(sock, address)
                transport, _ = await loop.create_connection(Nobody, sock=sock, ssl=peer, server_hostname="localhost")
                transport.close()

        for hosts in (None, "", "127.0.0.1", ["127.0.0.1", "::1"]):
            server = await loop.create_server(Nobody, hosts, 0, ssl=context)
            for each in server.sockets:
                assert not os.get_inheritable(each.fileno())
            last = server.sockets[-1]
            port = last.getsockname()[1]
            await visit(server, ("127.0.0.1" if last.family == socket.AF_INET else "::1", port), last.family)
            assert not server.sockets
        path = tmp_path / "socket"
        for _ in range(2):  # the second takes the place of what the first has left
            await visit(await loop.create_unix_server(Nobody, path, ssl=context), str(path), socket.AF_UNIX)
        with socket.create_server(("127.0.0.1", 0)) as busy:
            port = busy.getsockname()[1]
            with pytest.raises(
                OSError, match=f"error while attempting to bind on address .*{port}.*address already in use"
            ):
                await loop.create_server(Nobody, "127.0.0.1", port, ssl=context)
            with pytest.raises(ValueError, match="cannot be given at the same time"):
                await loop.create_server(Nobody, "127.0.0.1", 0, sock=busy, ssl=context)  # type: ignore[call-overload]
            with pytest.raises(ValueError, match="cannot be given at the same time"):
                await loop.create_unix_server(Nobody, path, sock=busy, ssl=context)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())
