"""Ties the listeners to the handshakes of a context, in the event loop that runs now."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from asgi_tls import accept
from asgi_tls.context import ServerContext
from asgi_tls.dispatch import Dispatcher
from asgi_tls.events import Listener
from asgi_tls.handshake import Reception
from asgi_tls.plain_http import PlainHTTP

logger = logging.getLogger("asgi_tls")


def receive_with(
    context: ServerContext, *, listeners: Iterable[Listener], timeout: float, plain_http: PlainHTTP
) -> Listener:
    """See every handshake of this context. Gives what takes an event to the listeners, without waiting for them."""
    dispatcher = Dispatcher(listeners)

    def covers(host: str) -> bool:
        return any(each.covers(host) for group in context.certificates.values() for each in group)

    context.ssl_context.reception = Reception(
        tell=dispatcher.tell,
        tell_session=dispatcher.tell_session,
        wants_sessions=dispatcher.wants_sessions,
        covers=covers,
        timeout=float(timeout),
        plain_http=plain_http,
        admits=dispatcher.admits if dispatcher.gates else None,
        drained=lambda: dispatcher.idle,
    )
    try:
        accept.install(asyncio.get_running_loop())
    except RuntimeError:  # no loop: gunicorn's blocking workers, or a context made ahead of the loop
        logger.debug("no event loop runs: servers of asyncio accept on their own, and events name no address")
    return dispatcher.tell
