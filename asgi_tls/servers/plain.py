"""The plain port beside the TLS port: redirects to https, and ACME challenges.

A small server of its own, the same beside every server: one request on each connection, a limit on their time and on
their number. Connections that send nothing cannot use up the descriptors that the TLS port needs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from asgi_tls.errors import ConfigurationError
from asgi_tls.hostnames import parse_ip
from asgi_tls.servers.addresses import ALL_OF_IPV4, Address, bound

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Scope

    from asgi_tls.server import ServerTLS

logger = logging.getLogger("asgi_tls")

# Seconds for a request and its answer. A redirect needs one packet each way.
LIMIT: Final = 10.0
# Connections at the same time; a further one closes the one that has been open for longest.
CONNECTIONS: Final = 64
_BACKLOG: Final = 128
_CHUNK: Final = 65536
# No descriptor left: how long to wait before the next try.
_RETRY: Final = 1.0
_WILDCARDS: Final = {ALL_OF_IPV4: socket.AF_INET, "::": socket.AF_INET6}

Listener = tuple[socket.socket, "ASGIApp"]


def listeners(values: Mapping[str, Any], tls: ServerTLS, addresses: Sequence[Address]) -> list[Listener]:
    """The sockets of the plain port that the settings ask for, bound, each with its application.

    `addresses` are the server's own: the plain port listens on the same hosts, and each redirects to the port there.

    Raises ConfigurationError, CertificateError.
    """
    port = values.get("redirect_port")
    if port is None:
        _check_without_port(values, tls, "Set {redirect_port} to the port for plain HTTP, usually 80")
        return []
    if any(address.port == port for address in addresses):
        raise ConfigurationError(
            f"{{redirect_port}} is {port}, and so is the TLS port",
            fix="Choose another port for plain HTTP, usually 80.",
            settings=("redirect_port",),
        )
    webroot = values.get("redirect_webroot")
    from asgi_tls.middleware.acme import wrong_with
    from asgi_tls.middleware.redirect_app import PlainPort

    if webroot is not None and (wrong := wrong_with(Path(webroot))):
        raise ConfigurationError(
            f"{{redirect_webroot}} is {webroot}, which {wrong[0]}", fix=wrong[1], settings=("redirect_webroot",)
        )
    hosts = {name for group in tls.load().values() for one in group for name in one.hosts}
    if not hosts:
        raise ConfigurationError(
            "{redirect_port} is set, and no certificate has a host name that clients accept",
            fix="Have the certificate issued for its host names, or remove {redirect_port}.",
            settings=("redirect_port",),
        )
    return [
        (sock, PlainPort(hosts, https_port, webroot))
        for host, https_port in _targets(values.get("public_port"), addresses).items()
        for sock in listening(Address(host, port, v6only=True))
    ]


def listening(address: Address) -> list[socket.socket]:
    """Sockets that listen there. Raises ConfigurationError."""
    sockets = bound(address)
    for sock in sockets:
        sock.setblocking(False)
        sock.listen(_BACKLOG)
    return sockets


def _targets(public_port: int | None, addresses: Sequence[Address]) -> dict[str, int]:
    """Which port the redirects of each host lead to."""
    targets: dict[str, int] = {}
    over_ipv4: dict[str, int] = {}
    for address in addresses or [Address("127.0.0.1", 0)]:
        https_port = public_port or address.port
        if https_port == 0:
            raise ConfigurationError(
                "the redirect cannot know the TLS port: the server listens on "
                + ("a port that the system chooses" if addresses else "a Unix socket"),
                fix="Set {public_port} to the port that clients connect to.",
                settings=("public_port",),
            )
        targets.setdefault(parse_ip(address.host) or address.host, https_port)
        if address.has_ipv4:
            over_ipv4.setdefault(ALL_OF_IPV4, https_port)
    targets = over_ipv4 | targets
    everywhere = {_WILDCARDS[host] for host in targets if host in _WILDCARDS}
    return {host: port for host, port in targets.items() if host in _WILDCARDS or _family(host) not in everywhere}


def _family(host: str) -> int:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def refuse(values: Mapping[str, Any], tls: ServerTLS, server: str) -> None:
    """For a server that opens no plain port beside the TLS port. Raises ConfigurationError where one is asked for."""
    if "redirect_port" in values:
        raise ConfigurationError(
            f"{{redirect_port}} is set, and {server} cannot open that port",
            fix=f"Use `asgi-tls {server}`, or run asgi_tls.middleware.redirect_app in a process of its own.",
            settings=("redirect_port",),
        )
    _check_without_port(values, tls, f"Use `asgi-tls {server}` with {{redirect_port}}")


def _check_without_port(values: Mapping[str, Any], tls: ServerTLS, fix: str) -> None:
    """What is for a plain port alone has no effect. The TLS port redirects as well, unless it rejects plain HTTP."""
    for name in ("redirect_webroot", *(["public_port"] if tls.plain_http == "reject" else [])):
        if name in values:
            raise ConfigurationError(
                f"{{{name}}} is set without {{redirect_port}}",
                fix=f"{fix}, or remove {{{name}}}.",
                settings=(name, "redirect_port"),
            )


@contextlib.contextmanager
def in_thread(listeners: Sequence[Listener], *, limit: float = LIMIT) -> Iterator[None]:
    """Serve in a thread until the block is left: workers start and stop without it, signals stay with the main one."""
    if not listeners:
        yield
        return
    loop = asyncio.new_event_loop()
    serving = loop.create_task(serve(listeners, limit=limit))

    def run() -> None:
        with contextlib.closing(loop), contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(serving)

    thread = threading.Thread(target=run, name="asgi_tls plain port", daemon=True)
    thread.start()
    try:
        yield
    finally:
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself
            loop.call_soon_threadsafe(serving.cancel)
        thread.join(5)


def in_process(listeners: Sequence[Listener], drop_privileges: Callable[[], None]) -> None:
    """Serve in a child process, until this one and all its other children have ended, and what they executed."""
    if not listeners:
        return
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    if os.fork():
        os.close(reading)  # the other end stays open for as long as one of us runs
        for sock, _ in listeners:
            sock.close()
        return
    try:
        os.close(writing)
        for number in (signal.SIGINT, signal.SIGHUP):  # they are for the parent
            signal.signal(number, signal.SIG_IGN)
        drop_privileges()
        asyncio.run(_serve_until_closed(listeners, reading))
    except BaseException:
        logger.exception("the plain port has failed")
    finally:
        os._exit(0)


async def _serve_until_closed(listeners: Sequence[Listener], reading: int) -> None:
    serving = asyncio.ensure_future(serve(listeners))
    asyncio.get_running_loop().add_reader(reading, serving.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await serving


async def serve(listeners: Sequence[Listener], *, limit: float = LIMIT) -> None:
    """Serve until this is cancelled. A connection is closed after `limit` seconds."""
    loop = asyncio.get_running_loop()
    under_way: dict[asyncio.Task[None], None] = {}
    async with asyncio.TaskGroup() as group:
        for sock, app in listeners:
            group.create_task(_accept(sock, app, limit, under_way, group))
        try:
            await loop.create_future()
        finally:
            # asyncio's `sock_accept` logs InvalidStateError where it is cancelled just when a client connects. That of
            # Windows' loop, which has no readers, does not.
            with contextlib.suppress(NotImplementedError):
                for sock, _ in listeners:
                    if sock.fileno() != -1:
                        loop.remove_reader(sock)


async def _accept(
    sock: socket.socket, app: ASGIApp, limit: float, under_way: dict[asyncio.Task[None], None], group: asyncio.TaskGroup
) -> None:
    loop = asyncio.get_running_loop()
    with contextlib.closing(sock):
        while True:
            try:
                connection, client = await loop.sock_accept(sock)
            except OSError:
                await asyncio.sleep(_RETRY)
                continue
            if len(under_way) >= CONNECTIONS:
                oldest = next(iter(under_way))
                del under_way[oldest]
                oldest.cancel()
            task = group.create_task(_answer(connection, client, app, limit))
            under_way[task] = None
            task.add_done_callback(lambda done: under_way.pop(done, None))
            await asyncio.sleep(0)  # it takes the socket over


async def _answer(connection: socket.socket, client: Sequence[Any], app: ASGIApp, limit: float) -> None:
    try:
        reader, writer = await asyncio.open_connection(sock=connection)
    except OSError:  # macOS: an option of a connection that was reset already
        connection.close()
        return
    try:
        async with asyncio.timeout(limit):
            await _Exchange(reader, writer, client).run(app)
            # Closed with bytes unread, TCP would reset the connection, and the client might lose the answer.
            writer.write_eof()
            while await reader.read(_CHUNK):
                pass
    except OSError:  # a timeout is one
        pass
    except Exception:
        logger.exception("the plain port failed to answer a request")
    finally:
        writer.transport.abort()


class _Exchange:
    """One request and its response."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, client: Sequence[Any]) -> None:
        import h11

        self._reader, self._writer, self._client, self._h11 = reader, writer, client, h11
        self._connection = h11.Connection(h11.SERVER)
        self._method = b""

    async def run(self, app: ASGIApp) -> None:
        try:
            scope = await self._scope()
        except self._h11.RemoteProtocolError as error:
            status = error.error_status_hint
            await self._send({"type": "http.response.start", "status": status, "headers": []})
            await self._send({"type": "http.response.body"})
            return
        if scope is not None:
            await app(scope, self._receive, self._send)

    async def _scope(self) -> Scope | None:
        """The request, None where the client closed the connection without one."""
        while (event := self._connection.next_event()) is self._h11.NEED_DATA:
            self._connection.receive_data(await self._reader.read(_CHUNK))
        if not isinstance(event, self._h11.Request):
            return None
        self._method = event.method
        raw_path, _, query = event.target.partition(b"?")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": event.http_version.decode("ascii"),
            "method": event.method.decode("ascii"),
            "scheme": "http",
            "path": unquote(raw_path.decode("ascii")),
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in event.headers],
            "client": self._client[:2],
            "server": (self._writer.get_extra_info("sockname") or ("", 0))[:2],
            "state": {},
        }

    async def _receive(self) -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def _send(self, message: Message) -> None:
        h11 = self._h11
        if message["type"] == "http.response.start":
            status = message["status"]
            headers = [
                *message["headers"],
                (b"date", formatdate(usegmt=True).encode("ascii")),
                (b"connection", b"close"),
            ]
            self._write(h11.Response(status_code=status, headers=headers, reason=HTTPStatus(status).phrase.encode()))
            return
        if (body := message.get("body")) and self._method != b"HEAD":
            self._write(h11.Data(data=body))
        if not message.get("more_body"):
            self._write(h11.EndOfMessage())

    def _write(self, event: Any) -> None:
        self._writer.write(self._connection.send(event) or b"")
