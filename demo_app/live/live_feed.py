"""The live feed: this worker's TLS events as server-sent events, for each browser that reads it.

Everything is bounded: the history, the number of readers, the queue of each, and the time that one may take to read.
Addresses are personal data: visitors see their own and those of this machine, and only the network of others.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import signal
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

from fastapi.responses import StreamingResponse

from asgi_tls.events import (
    ACMEEvent,
    CertificateLoadedEvent,
    ClientErrorEvent,
    Event,
    ReloadFailedEvent,
    SessionEvent,
    listening,
)

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

REMEMBERED = 20
WATCHERS = 100
WAITING = 50
HEARTBEAT = 15.0  # seconds; proxies close a connection that is silent for a minute
SLOWEST = 10.0  # seconds for one message

Queue = asyncio.Queue[Event | None]
Visitor = tuple[str, int] | None


class Feed:
    """Hands events from the thread of the listeners to the queues of the readers. None in a queue ends it."""

    def __init__(self) -> None:
        self._history: deque[Event] = deque(maxlen=REMEMBERED)
        self._queues: set[Queue] = set()
        self.order: ACMEEvent | None = None
        """The last that was reported of automatic HTTPS."""

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Receive events until the block ends or the server stops."""
        loop = asyncio.get_running_loop()

        def later(action: Callable[..., None], *arguments: Any) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed already
                loop.call_soon_threadsafe(action, *arguments)

        with listening(lambda event: later(self._publish, event)), _at_shutdown(lambda: later(self._end)):
            yield

    @property
    def full(self) -> bool:
        """Whether the feed takes no more readers."""
        return len(self._queues) >= WATCHERS

    @contextlib.contextmanager
    def watching(self) -> Iterator[Queue]:
        """A queue that gets every event from now on. It ends when its reader falls behind."""
        queue: Queue = asyncio.Queue(WAITING)
        self._queues.add(queue)
        try:
            yield queue
        finally:
            self._queues.discard(queue)

    async def messages(self, queue: Queue, visitor: Visitor) -> AsyncIterator[str]:
        """The history, then each new event, as server-sent events."""
        yield "retry: 2000\n\n"
        for event in tuple(self._history):
            yield message(event, visitor)
        while True:
            try:
                event_or_end = await asyncio.wait_for(queue.get(), HEARTBEAT)
            except TimeoutError:
                yield ": still here\n\n"
                continue
            if event_or_end is None:
                return
            yield message(event_or_end, visitor)

    def _publish(self, event: Event) -> None:
        self._history.append(event)
        if isinstance(event, ACMEEvent):
            self.order = event
        for queue in tuple(self._queues):
            try:
                queue.put_nowait(event)
            except asyncio.QueueFull:
                self._end_one(queue)

    def _end(self) -> None:
        for queue in tuple(self._queues):
            self._end_one(queue)

    def _end_one(self, queue: Queue) -> None:
        self._queues.discard(queue)
        while not queue.empty():
            queue.get_nowait()
        queue.put_nowait(None)


class EventStream(StreamingResponse):
    """The response for one reader; it counts as one while it is sent."""

    def __init__(self, feed: Feed, visitor: Visitor) -> None:
        super().__init__((), media_type="text/event-stream", headers={"cache-control": "no-store"})
        self._feed, self._visitor = feed, visitor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._feed.watching() as queue:
            self.body_iterator = self._feed.messages(queue, self._visitor)
            await super().__call__(scope, receive, send)

    async def stream_response(self, send: Send) -> None:
        with contextlib.suppress(TimeoutError):  # the server closes the connection, since the response is not complete
            await super().stream_response(lambda part: asyncio.wait_for(send(part), SLOWEST))


def message(event: Event, visitor: Visitor) -> str:
    """An event as one server-sent event, with what this visitor may see."""
    fields: dict[str, Any] = {"event": event.event, "at": event.ts.isoformat()}
    if isinstance(event, SessionEvent | ClientErrorEvent):
        fields |= {"address": shown(event.ip, visitor), "mine": (event.ip, event.port) == visitor}
    if isinstance(event, SessionEvent):
        group = event.group or "an unknown group"
        fields["text"] = f"{event.protocol}, {event.cipher}, {group}, {event.duration_ms:.1f} ms"
        fields["resumed"] = event.resumed
    elif isinstance(event, ClientErrorEvent):
        fields |= {"code": event.code, "text": f"alert sent: {event.alert or 'none'}"}
    elif isinstance(event, CertificateLoadedEvent):
        fields["text"] = f"{', '.join(event.subject_alt_names)} until {event.not_after:%Y-%m-%d}"
        fields["fingerprint"] = event.fingerprint_sha256
    elif isinstance(event, ReloadFailedEvent):
        fields["text"] = event.code
    elif isinstance(event, ACMEEvent):
        fields |= {"code": event.code, "text": event.msg, "action": event.action}
        fields["renewal"] = None if event.renew_at is None else f"{event.renew_at:%Y-%m-%d}"
    return f"data: {json.dumps(fields)}\n\n"


def shown(ip: str | None, visitor: Visitor) -> str:
    """The address as this visitor may see it: whole if it is theirs or this machine's, else its /24 or /48 network."""
    if ip is None:
        return "unix socket"
    address = ipaddress.ip_address(ip.partition("%")[0])
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_loopback or (visitor is not None and ip == visitor[0]):
        return str(address)
    return str(ipaddress.ip_network((address, 24 if address.version == 4 else 48), strict=False))


@contextlib.contextmanager
def _at_shutdown(end: Callable[[], None]) -> Iterator[None]:
    """Call `end` when a signal stops the server: uvicorn waits for open responses before it ends the lifespan."""
    ours: dict[signal.Signals, tuple[Any, Any]] = {}
    in_main_thread = threading.current_thread() is threading.main_thread()
    for number in (signal.SIGINT, signal.SIGTERM) if in_main_thread else ():
        theirs = signal.getsignal(number)
        if not callable(theirs):
            continue  # nobody handles it: the process just ends

        def handle(signum: int, frame: Any, theirs: Any = theirs) -> None:
            end()
            theirs(signum, frame)

        ours[number] = handle, theirs
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, (mine, theirs) in ours.items():
            if signal.getsignal(number) is mine:
                signal.signal(number, theirs)
