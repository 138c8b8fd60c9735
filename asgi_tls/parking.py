"""Connections that have not said a word yet, kept without anything of TLS.

A transport of asyncio or uvloop takes up to 300 kB before the first byte arrives. When many handshakes are under way,
new connections wait here instead, as a bare socket each, until they speak or their time is up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from asgi_tls.peer import Peer


class Parking:
    """`on_word` is called when a connection speaks or ends, `on_timeout` when it was silent for `limit` seconds."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limit: float,
        on_word: Callable[[Peer], Any],
        on_timeout: Callable[[Peer], Any],
    ) -> None:
        self._loop, self._limit, self._on_word, self._on_timeout = loop, limit, on_word, on_timeout
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
        self._on_word(peer)

    def _end(self, peer: Peer) -> None:
        self._leave(peer)
        peer.close()
        self._on_timeout(peer)
