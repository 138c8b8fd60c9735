"""Our fields beside those that the application set."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from asgi_tls.middleware.csp import PLACEHOLDER
from asgi_tls.middleware.fields import HSTS_NAME

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

    from starlette.types import Message, Scope, Send

Pair = tuple[bytes, bytes]

_HSTS = HSTS_NAME.encode()
_PLACEHOLDER = PLACEHOLDER.encode()
# The messages that carry the head of a response.
_HEADS = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})
# CSP Level 3 section 7.1: at least 128 bits.
_NONCE_BYTES = 16
# Applications that make up header names must not fill the memory.
_MOST_NAMES = 200


class Merger:
    """Puts one set of fields into the heads of responses, over TLS (`secure`) or over plain HTTP.

    A nonce in them is fresh for each request, and the application finds it in `scope["state"]["csp_nonce"]`. The
    application's own field wins, unless `override`. Strict-Transport-Security is there once over TLS (RFC 6797
    section 7.1), and over plain HTTP never, not even the application's (section 7.2).
    """

    def __init__(self, fields: Iterable[Pair], *, secure: bool, override: bool) -> None:
        self.fields = [pair for pair in fields if secure or pair[0] != _HSTS]
        self._nonce_slots = [
            (place, name, value.split(_PLACEHOLDER))
            for place, (name, value) in enumerate(self.fields)
            if _PLACEHOLDER in value
        ]
        self.is_constant = not self._nonce_slots
        self._secure = secure
        self._ours = frozenset(name for name, _ in self.fields)
        self._replaced = self._ours if override else frozenset[bytes]()
        # Names that the application was seen to send, spelt its way, and that are none of ours.
        self.harmless: set[bytes] = set()

    def sender(self, scope: Scope, send: Send) -> Send:
        """A `send` that adds the fields to the head of the response, and passes all else on."""
        fields = self._fields_with_nonce(scope) if self._nonce_slots else self.fields

        # No coroutine function: what the inner send returns is awaited just as well.
        def send_with_fields(message: Message) -> Awaitable[None]:
            return send(self.added(message, fields) if message["type"] in _HEADS else message)

        return send_with_fields

    def added(self, message: Message, fields: list[Pair]) -> Message:
        """The head of a response with the fields; a copy, as the application may send the same object again."""
        if message.get("status", 200) < 200:
            return message  # an interim response is not the response
        headers = message.get("headers")
        if type(headers) is not list:
            headers = list(headers or ())
        for name, _ in headers:
            if name not in self.harmless and self._conflicts(headers):
                return {**message, "headers": self._merged(headers, fields)}
        return {**message, "headers": headers + fields}

    def _fields_with_nonce(self, scope: Scope) -> list[Pair]:
        nonce = secrets.token_urlsafe(_NONCE_BYTES)
        scope.setdefault("state", {})["csp_nonce"] = nonce
        fields = self.fields.copy()
        for place, name, parts in self._nonce_slots:
            fields[place] = (name, nonce.encode().join(parts))
        return fields

    def _conflicts(self, headers: Iterable[Pair]) -> bool:
        names = {name for name, _ in headers}
        keys = {name.lower() for name in names}
        if _HSTS in keys or not keys.isdisjoint(self._ours):
            return True
        if len(self.harmless) < _MOST_NAMES:
            self.harmless |= names
        return False

    def _merged(self, headers: Iterable[Pair], fields: list[Pair]) -> list[Pair]:
        result = []
        taken = set()
        for name, value in headers:
            key = name.lower()
            if key in self._replaced or (key == _HSTS and (not self._secure or key in taken)):
                continue
            taken.add(key)
            result.append((name, value))
        return result + [pair for pair in fields if pair[0] not in taken]
