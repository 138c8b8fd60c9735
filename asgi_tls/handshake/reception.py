"""Ties the listeners to the handshakes of a context, in the event loop that runs now."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from asgi_tls.events import Listener
from asgi_tls.handshake import accept
from asgi_tls.handshake.plain_http import PlainHTTP
from asgi_tls.handshake.ssl_object import HandshakeContext, Reception
from asgi_tls.listeners.dispatch import Dispatcher

logger = logging.getLogger("asgi_tls")


def receive_with(
    context: HandshakeContext,
    *,
    listeners: Iterable[Listener],
    covers: Callable[[str], bool],
    timeout: float,
    plain_http: PlainHTTP,
) -> Listener:
    """See every handshake of this context. Returns what hands an event to the listeners, without waiting for them.

    `covers` says whether a host of a plain HTTP request has a certificate, and so may be redirected to.
    """
    dispatcher = Dispatcher(listeners)
    context.tls_reception = Reception(
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
