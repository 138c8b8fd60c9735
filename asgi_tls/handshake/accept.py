"""The listening side: sockets accepted here, so that each handshake knows the address at the other end.

In asyncio and uvloop, an `ssl` object does not know its peer's address, and a handshake that fails is not reported.
Servers ask for their context inside the running loop, before they listen. `receive_with` then puts a `create_server`
of ours on that loop, as an attribute. It takes the calls that bring one of our contexts, and hands all others to the
loop's own. Each accepted socket goes to `loop.connect_accepted_socket`, which is public, and whose exception is the
handshake's.

It would break if a server called the loop's class instead of the loop; the events of tests/servers would lose their
addresses.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import logging
import os
import socket
import ssl
import sys
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final

from asgi_tls.certificate.challenges import challenges
from asgi_tls.events import Listener
from asgi_tls.handshake import outcomes
from asgi_tls.handshake.binding import as_it_is, bound
from asgi_tls.handshake.peer import Ending, Peer, accept, current_peer, has_left, let_go
from asgi_tls.handshake.plain_http import PlainHTTP
from asgi_tls.handshake.reception import Reception
from asgi_tls.handshake.ssl_object import HandshakeContext
from asgi_tls.listeners.dispatch import Dispatcher

logger = logging.getLogger("asgi_tls")

# Connections accepted in one go, before the loop runs other tasks.
_BATCH: Final = 64
_BACKLOG: Final = 100
# Handshakes under way at the same time; a connection above this limit gets a transport once it has sent something.
_HANDSHAKES: Final = 64
_LEAST: Final = 0.001
# No descriptor or memory left: asyncio's own delay before the next try.
_EXHAUSTED: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_RETRY: Final = 1.0
# How long `wait_closed` leaves listeners time to take the last events.
_LAST_EVENTS: Final = 1.0

Factory = Callable[[], asyncio.BaseProtocol]


def receive_with(
    context: HandshakeContext,
    *,
    listeners: Iterable[Listener],
    covers: Callable[[str], bool],
    timeout: float,
    plain_http: PlainHTTP,
) -> Listener:
    """Observe every handshake of this context, in the event loop that runs now. For the rest see `Reception`.

    Returns what hands an event to the listeners, without waiting for them.
    """
    dispatcher = Dispatcher(listeners)
    context.tls_reception = Reception(
        dispatcher=dispatcher, covers=covers, timeout=float(timeout), plain_http=plain_http
    )
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:  # no loop: gunicorn's blocking workers, or a context made ahead of the loop
        logger.debug("no event loop runs: servers of asyncio accept on their own, and events name no address")
    else:
        if can_accept(loop):
            _install(loop)
    return dispatcher.tell


def can_accept(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether connections can be accepted here. Not on Windows: its proactor loop has no readers, and beside the other
    one, which `uvicorn --reload` takes, `os.dup` takes no sockets.
    """
    return os.name != "nt" and type(loop).add_reader is not asyncio.AbstractEventLoop.add_reader


def _install(loop: Any) -> None:
    """Let this loop's servers accept here, where they serve one of our contexts."""
    if not isinstance(getattr(loop, "create_server", None), _Hook):
        loop.create_server = _Hook(loop.create_server)
        # The server that binds the socket is closed at once, and would delete it.
        options = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
        loop.create_unix_server = _Hook(functools.partial(loop.create_unix_server, **options))
        # `aiofastnet.patch_loop` replaces neither, also where it is called later: see docs/internals.md.
        patched = getattr(loop, "_aiofastnet_patched_methods", ())
        loop._aiofastnet_patched_methods = {*patched, "create_server", "create_unix_server"}


class _Hook:
    """In the place of `loop.create_server` and `loop.create_unix_server`."""

    def __init__(self, original: Callable[..., Any]) -> None:
        self._original = original

    async def __call__(
        self, protocol_factory: Factory, *where: Any, ssl: Any = None, **options: Any
    ) -> asyncio.AbstractServer:
        reception = ssl.tls_reception if isinstance(ssl, HandshakeContext) else None
        if reception is None:
            server: asyncio.AbstractServer = await self._original(protocol_factory, *where, ssl=ssl, **options)
            return server
        if reception.before_listening is not None:
            reception.before_listening()
        accepting = AcceptingServer(
            asyncio.get_running_loop(),
            await self._sockets(where, options),
            protocol_factory,
            ssl,
            reception,
            backlog=options.get("backlog") or _BACKLOG,
            handshake_timeout=options.get("ssl_handshake_timeout"),
            shutdown_timeout=options.get("ssl_shutdown_timeout"),
        )
        if options.get("start_serving", True):
            await accepting.start_serving()
        return accepting

    async def _sockets(self, where: Sequence[Any], options: dict[str, Any]) -> list[socket.socket]:
        sock = options.get("sock")
        if sock is None:
            return await bound(self._original, *where, options=options)
        if any(each is not None for each in (*where, *map(options.get, ("host", "port", "path")))):
            raise ValueError("host, port or path and sock cannot be given at the same time")
        return [as_it_is(sock)]


class AcceptingServer(asyncio.AbstractServer):
    """What `create_server` returns: it listens, and follows every handshake to its end.

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
        self._silent = SilentConnections(loop, self._limit, self._start_late, self._report_left, self._report_timeout)

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
        challenges.is_served = True

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
        """Stop listening. Connections continue, handshakes for a moment; those that have sent nothing are closed."""
        sockets, self._sockets, self._serving = self._sockets, (), False
        for sock in sockets:
            if sock.fileno() != -1:  # servers may close a socket of their own first
                self._loop.remove_reader(sock.fileno())
            sock.close()
        self._silent.close()
        if (limit := self._reception.graceful_timeout) is not None:
            self._ending.seconds = limit
        if self._under_way and not self._loop.is_closed():
            # A task: all servers cancel those before they close their loop, and not all wait for this server.
            self._last_handshakes = self._loop.create_task(self._end_handshakes())
        if self._forever is not None and not self._forever.done():
            self._forever.cancel()

    async def wait_closed(self) -> None:
        """Give the handshakes that are under way, then the listeners, a moment for the last events."""
        if self._last_handshakes is not None:
            await asyncio.shield(self._last_handshakes)
        await self._until(lambda: self._reception.dispatcher.idle)

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
        # After a single client, do not check for another one: the loop calls again if there is.
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
                self._start(peer, self._limit)
            else:
                self._silent.add(peer)

    def _start_late(self, peer: Peer) -> None:
        left = self._limit + peer.peer_started - time.perf_counter()
        self._start(peer, max(left, _LEAST))

    def _start(self, peer: Peer, limit: float) -> None:
        token = current_peer.set(peer)  # whatever the loop calls for this connection keeps a copy of this context
        connecting = self._connect(peer, ssl_handshake_timeout=limit)
        self._under_way[connecting] = peer
        self._go_on(connecting)
        current_peer.reset(token)

    def _go_on(self, connecting: Coroutine[Any, Any, Any], _waiter: object = None) -> None:
        """Drive the coroutine to its next future. A task would do the same, and take three times as long."""
        peer = self._under_way.pop(connecting, None)
        if peer is None:  # it was ended in the meantime
            return
        try:
            waiter = connecting.send(None)
        except StopIteration:
            pass
        except OSError as error:
            if not peer.peer_reported:
                # asyncio and uvloop abort the connection when the time is over.
                is_late = isinstance(error, (ConnectionAbortedError, TimeoutError))
                (self._report_timeout if is_late else self._report_left)(peer)
            let_go(error)
        except Exception as error:  # noqa: BLE001 -- the server's own protocol failed, and its loop reports that
            peer.close()
            self._loop.call_exception_handler({"message": "cannot start a connection's protocol", "exception": error})
        else:
            self._under_way[connecting] = peer
            waiter.add_done_callback(functools.partial(self._go_on, connecting))

    def _report_timeout(self, peer: Peer) -> None:
        self._report(peer, outcomes.timed_out(self._limit))

    def _report_left(self, peer: Peer) -> None:
        self._report(peer, outcomes.left(peer.peer_has_sent))

    def _report(self, peer: Peer, outcome: outcomes.Outcome) -> None:
        """Of a handshake that ended without an error of OpenSSL."""
        self._reception.report_failure(peer.peer_address, outcome, has_sent=peer.peer_has_sent)


class SilentConnections:
    """Connections that have no transport, since they have sent nothing so far.

    `on_data` is called when one sends something, `on_left` when it has closed meanwhile, and `on_timeout` when it was
    silent for `limit` seconds. Before the last two it is closed here as well.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limit: float,
        on_data: Callable[[Peer], Any],
        on_left: Callable[[Peer], Any],
        on_timeout: Callable[[Peer], Any],
    ) -> None:
        self._loop, self._limit = loop, limit
        self._on_data, self._on_left, self._on_timeout = on_data, on_left, on_timeout
        self._timers: dict[Peer, asyncio.TimerHandle] = {}

    def add(self, peer: Peer) -> None:
        """Wait for its first byte."""
        self._timers[peer] = self._loop.call_later(self._limit, self._end, peer, self._on_timeout)
        self._loop.add_reader(peer.fileno(), self._read, peer)

    def close(self) -> None:
        """Close all of them, and report nothing."""
        for peer in list(self._timers):
            self._end(peer, None)

    def _read(self, peer: Peer) -> None:
        if has_left(peer):
            self._end(peer, self._on_left)
        else:
            self._remove(peer)
            self._on_data(peer)

    def _end(self, peer: Peer, report: Callable[[Peer], Any] | None) -> None:
        self._remove(peer)
        peer.close()
        if report is not None:
            report(peer)

    def _remove(self, peer: Peer) -> None:
        self._timers.pop(peer).cancel()
        self._loop.remove_reader(peer.fileno())
