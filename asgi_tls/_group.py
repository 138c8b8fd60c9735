"""The group that a ClientHello was just given, handed from the callback in libssl to its handshake."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

chosen: Final[ContextVar[bytes | None]] = ContextVar("asgi_tls.group", default=None)


def take_group() -> str | None:
    """The one group that was left to the connection whose ClientHello was read just now, in this context and call.

    None where it was left them all. Asking costs next to nothing, and forgets the answer: the next connection in the
    same context must not find it.
    """
    choice = chosen.get()
    if choice is None:
        return None
    chosen.set(None)
    return choice.decode("ascii")
