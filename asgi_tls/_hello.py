"""The handshake that libssl is being called for: how a callback of libssl finds the object that Python knows it by."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final, Protocol


class Handshake(Protocol):
    """`hello` is what the client sent first, while libssl reads it and no longer. `group` is what it was left with."""

    hello: bytes
    group: str | None


current_handshake: Final[ContextVar[Handshake | None]] = ContextVar("asgi_tls.handshake", default=None)
"""May hold an earlier one, whose `hello` is empty by then."""
