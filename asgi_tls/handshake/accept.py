"""The listening side: sockets accepted here, so that each handshake knows the address at the other end.

Neither asyncio nor uvloop tells an `ssl` object whom it talks to, or tells anybody when a handshake fails. Servers ask
for their context inside the running loop, before they listen. `install` then puts a `create_server` of ours on that
loop, as an attribute. It takes the calls that bring one of our contexts, and hands all others to the loop's own. Each
accepted socket goes to `loop.connect_accepted_socket`, which is public, and whose exception is the handshake's.

It would break if a server called the loop's class instead of the loop; the events of tests/servers would lose their
addresses.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import logging
import socket
import ssl
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from asgi_tls.handshake.binding import as_it_is, bind, bind_unix
from asgi_tls.handshake.peer import Ending, Peer, accept, current_peer, has_left
from asgi_tls.handshake.ssl_object import HandshakeContext, Reception, tell_error

logger = logging.getLogger("asgi_tls")

# Connections taken in one go, before others have their turn.
_BATCH: Final = 64
_BACKLOG: Final = 100
# Handshakes under way at the same time; a connection beyond them has to speak before it gets a transport.
_HANDSHAKES: Final = 64
_LEAST: Final = 0.001
# No descriptor or memory left: asyncio's own delay before the next try.
_EXHAUSTED: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_RETRY: Final = 1.0
# How long `wait_closed` leaves listeners time to take the last events.
_LAST_EVENTS: Final = 1.0

Factory = Callable[[], asyncio.BaseProtocol]


def install(loop: asyncio.AbstractEventLoop) -> None:
    """Let this loop's servers accept here, where they serve one of our contexts."""
    if not isinstance(getattr(loop, "create_server", None), _CreateServer):
        hooked: Any = loop
        hooked.create_server = _CreateServer(loop.create_server)
        hooked.create_unix_server = _CreateUnixServer(loop.create_unix_server)


class _Hook:
    def __init__(self, original: Callable[..., Any]) -> None:
        self._original = original


class _CreateServer(_Hook):
    """In the place of `loop.create_server`."""

    async def __call__(
        self, protocol_factory: Factory, host: Any = None, port: Any = None, *, ssl: Any = None, **options: Any
    ) -> asyncio.AbstractServer:
        reception = _reception(ssl)
        if reception is None:
            server: asyncio.AbstractServer = await self._original(protocol_factory, host, port, ssl=ssl, **options)
            return server
        sock = options.get("sock")
        if sock is not None and (host is not None or port is not None):
            raise ValueError("host/port and sock can not be specified at the same time")
        loop = asyncio.get_running_loop()
        sockets = [as_it_is(sock)] if sock is not None else await bind(loop, host, port, options)
        return await _listen(loop, sockets, protocol_factory, ssl, reception, options)


class _CreateUnixServer(_Hook):
    """In the place of `loop.create_unix_server`."""

    async def __call__(
        self, protocol_factory: Factory, path: Any = None, *args: Any, ssl: Any = None, **options: Any
    ) -> asyncio.AbstractServer:
        reception = _reception(ssl)
        if reception is None:
            server: asyncio.AbstractServer = await self._original(protocol_factory, path, *args, ssl=ssl, **options)
            return server
        sock = options.get("sock")
        if (path is None) == (sock is None):
            raise ValueError("exactly one of path and sock must be given")
        loop = asyncio.get_running_loop()
        return await _listen(loop, [sock or bind_unix(path)], protocol_factory, ssl, reception, options)


def _reception(context: object) -> Reception | None:
    return context.tls_reception if isinstance(context, HandshakeContext) else None


async def _listen(
    loop: asyncio.AbstractEventLoop,
    sockets: Sequence[socket.socket],
    factory: Factory,
    context: ssl.SSLContext,
    reception: Reception,
    options: dict[str, Any],
) -> AcceptingServer:
    server = AcceptingServer(
        loop,
        sockets,
        factory,
        context,
        reception,
        backlog=options.get("backlog") or _BACKLOG,
        handshake_timeout=options.get("ssl_handshake_timeout"),
        shutdown_timeout=options.get("ssl_shutdown_timeout"),
    )
    if options.get("start_serving", True):
        await server.start_serving()
    return server


class AcceptingServer(asyncio.AbstractServer):
    """What `create_server` returns: it listens, and sees every handshake through.

    `wait_closed` waits for nothing but the last events. Connections are their protocols' business: uvicorn, hypercorn
    and gunicorn each end their own. There is no `close_clients` (Python 3.13), as there is none in uvloop.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sockets: Sequence[socket.socket],
        factory: Factory,
        context: ssl.SSLContext,
        reception: Reception,
        *,
        backlog: int,
        handshake_timeout: float | None,
        shutdown_timeout: float | None,
    ) -> None:
        self._loop, self._reception = loop, reception
        self._sockets = tuple(sockets)
        self._backlog = backlog
        limit = reception.timeout
        self._limit = limit if handshake_timeout is None else min(limit, handshake_timeout)
        connection: dict[str, Any] = {"ssl": context}
        if shutdown_timeout is not None:
            connection["ssl_shutdown_timeout"] = shutdown_timeout
        self._connect: Callable[..., Coroutine[Any, Any, Any]] = functools.partial(
            loop.connect_accepted_socket, factory, **connection
        )
        self._ending = Ending()
        self._serving = False
        self._forever: asyncio.Future[None] | None = None
        self._last_handshakes: asyncio.Task[None] | None = None
        self._under_way: dict[Coroutine[Any, Any, Any], Peer] = {}
        self._parking = Parking(loop, self._limit, self._spoken, self._tell_left, self._tell_timeout)

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """The listening sockets, none once it is closed."""
        return self._sockets

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The loop that it serves in."""
        return self._loop

    def is_serving(self) -> bool:
        """Whether it accepts connections."""
        return self._serving

    async def start_serving(self) -> None:
        """Accept connections from now on."""
        if self._serving or not self._sockets:
            return
        self._serving = True
        for sock in self._sockets:
            sock.setblocking(False)
            sock.listen(self._backlog)
            self._watch(sock)

    async def serve_forever(self) -> None:
        """Accept connections until this is cancelled or the server closed."""
        if self._forever is not None:
            raise RuntimeError(f"server {self!r} is already being awaited on serve_forever()")
        if not self._sockets:
            raise RuntimeError(f"server {self!r} is closed")
        await self.start_serving()
        self._forever = self._loop.create_future()
        try:
            await self._forever
        finally:
            self._forever = None
            self.close()
            await self.wait_closed()

    def close(self) -> None:
        """Stop listening. Connections go on, handshakes for a moment; those that never spoke are closed."""
        sockets, self._sockets, self._serving = self._sockets, (), False
        for sock in sockets:
            if sock.fileno() != -1:  # servers may close a socket of their own first
                self._loop.remove_reader(sock.fileno())
            sock.close()
        self._parking.clear()
        if (limit := self._reception.graceful_timeout) is not None:
            self._ending.seconds = limit
        if self._under_way and not self._loop.is_closed():
            # A task: all servers cancel those before they close their loop, and not all wait for this server.
            self._last_handshakes = self._loop.create_task(self._end_handshakes())
        if self._forever is not None and not self._forever.done():
            self._forever.cancel()

    async def wait_closed(self) -> None:
        """Leave the handshakes that are under way, then the listeners, a moment for the last events."""
        if self._last_handshakes is not None:
            await asyncio.shield(self._last_handshakes)
        if self._reception.drained is not None:
            await self._until(self._reception.drained)

    async def _end_handshakes(self) -> None:
        try:
            await self._until(lambda: not self._under_way)
        finally:
            while self._under_way:
                connecting, _ = self._under_way.popitem()
                connecting.close()

    async def _until(self, condition: Callable[[], bool]) -> None:
        deadline = self._loop.time() + _LAST_EVENTS
        while not condition() and self._loop.time() < deadline:
            await asyncio.sleep(0.01)

    def _watch(self, sock: socket.socket) -> None:
        if self._serving:
            self._loop.add_reader(sock.fileno(), self._accept, sock, sock.family)

    def _accept(self, sock: socket.socket, family: socket.AddressFamily) -> None:
        admits = self._reception.admits
        # A lone client needs no second look whether there is another one: the loop calls again if there is.
        for _ in range(_BATCH if self._under_way else 1):
            try:
                peer = accept(sock, family, self._loop, admits, self._ending)
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                logger.error("cannot accept connections for %g s: %s", _RETRY, error)  # noqa: TRY400 -- no traceback
                self._loop.remove_reader(sock.fileno())
                self._loop.call_later(_RETRY, self._watch, sock)
                return
            if peer is None:
                continue
            if len(self._under_way) < _HANDSHAKES:
                self._begin(peer, self._limit)
            else:
                self._parking.park(peer)

    def _spoken(self, peer: Peer) -> None:
        left = self._limit + peer.peer_started - time.perf_counter()
        self._begin(peer, max(left, _LEAST))

    def _begin(self, peer: Peer, limit: float) -> None:
        token = current_peer.set(peer)  # whatever the loop calls for this connection keeps a copy of this context
        connecting = self._connect(peer, ssl_handshake_timeout=limit)
        self._under_way[connecting] = peer
        self._go_on(connecting)
        current_peer.reset(token)

    def _go_on(self, connecting: Coroutine[Any, Any, Any], _waiter: object = None) -> None:
        """Drive the coroutine to its next future. A task would do the same, and take three times as long."""
        peer = self._under_way.pop(connecting, None)
        if peer is None:  # it was ended meanwhile
            return
        try:
            waiter = connecting.send(None)
        except StopIteration:
            pass
        except OSError as error:
            if not peer.peer_told:
                self._tell(peer, error)
            _let_go(error)
        except Exception as error:  # noqa: BLE001 -- the server's own protocol failed, and its loop is told
            peer.close()
            self._loop.call_exception_handler({"message": "cannot receive a connection", "exception": error})
        else:
            self._under_way[connecting] = peer
            waiter.add_done_callback(functools.partial(self._go_on, connecting))

    def _tell_timeout(self, peer: Peer) -> None:
        tell_error(self._reception, peer, "HANDSHAKE_TIMEOUT", f"no handshake within {self._limit:g} s")

    def _tell(self, peer: Peer, error: OSError) -> None:
        """Tell of a handshake that ended without a word from OpenSSL."""
        if isinstance(error, (ConnectionAbortedError, TimeoutError)):
            self._tell_timeout(peer)
        else:
            self._tell_left(peer)

    def _tell_left(self, peer: Peer) -> None:
        if peer.peer_spoke:
            tell_error(self._reception, peer, "CONNECTION_CLOSED", "the client left in the middle of the handshake")
        else:
            tell_error(self._reception, peer, "NO_DATA", "the client connected and left without a byte")


def _let_go(error: BaseException | None) -> None:
    """Drop the frames that an error came through.

    They hold the error in turn, and the connection with its buffer of 256 kB (asyncio), until the garbage collector
    comes: some thousand connections later.
    """
    while error is not None:
        error.__traceback__, error = None, error.__context__


class Parking:
    """Connections without a transport: `on_word` is called when one speaks, `on_end` when it has left meanwhile, and
    `on_timeout` when it was silent for `limit` seconds. Before the last two it is closed.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limit: float,
        on_word: Callable[[Peer], Any],
        on_end: Callable[[Peer], Any],
        on_timeout: Callable[[Peer], Any],
    ) -> None:
        self._loop, self._limit = loop, limit
        self._on_word, self._on_end, self._on_timeout = on_word, on_end, on_timeout
        self._waiting: dict[Peer, asyncio.TimerHandle] = {}

    def park(self, peer: Peer) -> None:
        """Wait for its first byte."""
        self._waiting[peer] = self._loop.call_later(self._limit, self._end, peer)
        self._loop.add_reader(peer.fileno(), self._speak, peer)

    def clear(self) -> None:
        """Close whoever waits."""
        for peer in list(self._waiting):
            self._leave(peer)
            peer.close()

    def _leave(self, peer: Peer) -> None:
        self._waiting.pop(peer).cancel()
        self._loop.remove_reader(peer.fileno())

    def _speak(self, peer: Peer) -> None:
        self._leave(peer)
        if has_left(peer):
            peer.close()
            self._on_end(peer)
        else:
            self._on_word(peer)

    def _end(self, peer: Peer) -> None:
        self._leave(peer)
        peer.close()
        self._on_timeout(peer)
