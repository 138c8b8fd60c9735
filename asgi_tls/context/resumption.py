"""Which sessions a live context resumes, limited by the clock: by tickets, and in TLS 1.2 by a cache too.

There is no timer: the clock is read before each handshake, and by the reloader in between. So a host that slept, or
whose clock was set, is right with its next connection.
"""

from __future__ import annotations

import secrets
import ssl
import threading
import time
from collections.abc import Callable
from typing import Final

from asgi_tls import _openssl
from asgi_tls.tickets import MIN_SECRET, Rotation, derive_keys

# Sessions in the cache of one process, for TLS 1.2 clients that take no tickets: curl on Debian, Java before 13.
_CACHED: Final = 2048


class Resumption:
    """The ticket keys and the session cache of one context. Until `use` has given it another, its secret is random.

    `threaded` says that several threads may make handshakes at once. Otherwise call it in the event loop's thread.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        rotation: Rotation,
        *,
        threaded: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._context = context
        self._rotation = rotation
        self._threaded = threaded
        self._clock = clock
        self._secret, self._ends = secrets.token_bytes(MIN_SECRET), b""
        self._lock = threading.Lock()
        self._since = self._until = 0.0
        _openssl.limit_sessions(context, rotation.period, _CACHED)
        self._turn()

    def use(self, secret: bytes | None, ends: bytes) -> None:
        """Derive the keys from these from now on. If either has changed, no earlier session is resumed; None keeps the
        secret.
        """
        with self._lock:
            secret = self._secret if secret is None else secret
            if (secret, ends) != (self._secret, self._ends):
                self._secret, self._ends = secret, ends
                self._turn()

    @property
    def is_due(self) -> bool:
        """Whether the keys have to change by now."""
        return not self._since <= self._clock() < self._until

    def refresh(self) -> None:
        """Change the keys if it is time. Called before each handshake."""
        if not self._since <= self._clock() < self._until:
            with self._lock:
                if self.is_due:  # no other thread has done it meanwhile
                    self._turn()

    def forget(self) -> None:
        """Empty the cache: a handshake that was under way when the trust changed puts its session there."""
        _openssl.forget_sessions(self._context)

    def cache_nothing(self) -> None:
        """Turn the cache off."""
        _openssl.limit_sessions(self._context, self._rotation.period, 0)

    def _turn(self) -> None:
        epochs = self._rotation.at(self._clock())
        current, *also = (
            derive_keys(self._secret, rotation=self._rotation.period, epoch=epoch, ends=self._ends)
            for epoch in (epochs.current, *epochs.also)
        )
        _openssl.set_ticket_keys(self._context, current, also, threaded=self._threaded)
        self.forget()
        self._since, self._until = epochs.since, epochs.until
