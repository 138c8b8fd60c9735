"""Our fields beside those that the application set."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Final

from asgi_tls.middleware.csp import PLACEHOLDER
from asgi_tls.middleware.docs_pages import page_of
from asgi_tls.middleware.fields import CORP_NAME, CSP_NAMES, HSTS_NAME
from asgi_tls.middleware.nonce import new_nonce

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.types import Message, Scope

Pair = tuple[bytes, bytes]

_log = logging.getLogger("asgi_tls")

_HSTS: Final = HSTS_NAME.encode()
_SAME_ORIGIN: Final = (CORP_NAME.encode(), b"same-origin")
_CSP: Final = frozenset(name.encode() for name in CSP_NAMES)
_PLACEHOLDER: Final = PLACEHOLDER.encode()
_HTML: Final = re.compile(rb"\s*(?:text/html|application/xhtml\+xml)\s*(?:;|\Z)", re.IGNORECASE)
# What pages of other origins load by its URL: <img>, <link>, <script>, fonts.
_EMBEDDED: Final = re.compile(
    rb"\s*(?:(?:image|font|audio|video)/|text/css|(?:text|application)/javascript)", re.IGNORECASE
)
_NOT_MODIFIED: Final = 304
# Applications that make up names and types must not fill the memory.
_MOST: Final = 200

_EMBEDDING: Final = (
    "An image, font, style or script may be read by another origin (Access-Control-Allow-Origin: %s), and its "
    "Cross-Origin-Resource-Policy: same-origin keeps <img>, <link> and <script> of that origin from using it. If they "
    'are meant to use it: headers={"Cross-Origin-Resource-Policy": "cross-origin"}, or the same in paths={…}. '
    "(Reported once.)"
)


class Fields:
    """Fields that go out together; some may have a placeholder for the nonce."""

    def __init__(self, pairs: Iterable[Pair]) -> None:
        self._pairs = [*pairs]
        self._slots = [
            (place, name, value.split(_PLACEHOLDER))
            for place, (name, value) in enumerate(self._pairs)
            if _PLACEHOLDER in value
        ]
        self.has_nonce = bool(self._slots)
        self.names = {name for name, _ in self._pairs}

    def filled(self, nonce: str) -> list[Pair]:
        """The fields, with the nonce in place of each placeholder."""
        if not self._slots:
            return self._pairs
        pairs, text = self._pairs.copy(), nonce.encode("ascii")
        for place, name, parts in self._slots:
            pairs[place] = (name, text.join(parts))
        return pairs


class Merger:
    """Puts fields into the heads of responses: `html` into those of pages, `other` into all others.

    `pages` are the fields of single pages of frameworks, by the names of docs_pages. With `hsts`,
    Strict-Transport-Security is sent once (RFC 6797 section 7.1), otherwise never, not even the application's
    (section 7.2). The application's own field wins, unless `override`.

    A head is ordinary, and just gets `fields` at its end, where each of its names is among `harmless` (names
    that the application has sent before, in its spelling, and that are not ours), or its content type among
    `ordinary_types`.
    """

    def __init__(
        self,
        html: Iterable[Pair],
        other: Iterable[Pair],
        pages: Mapping[str, Iterable[Pair]],
        *,
        hsts: bool,
        override: bool,
    ) -> None:
        def kept(pairs: Iterable[Pair]) -> Fields:
            return Fields(pair for pair in pairs if hsts or pair[0] != _HSTS)

        self._other, self._html = kept(other), kept(html)
        self._pages = {name: kept(pairs) for name, pairs in pages.items()}
        self.fields = self._other.filled("")
        self.has_nonce = self._html.has_nonce or self._other.has_nonce
        self._hsts, self._override = hsts, override
        self._special = {_HSTS, b"content-type", b"access-control-allow-origin"}
        for fields in (self._other, self._html, *self._pages.values()):
            self._special |= fields.names
        self.harmless: set[bytes] = set()
        self.ordinary_types: set[bytes] = set()
        self._is_closed = _SAME_ORIGIN in self.fields

    def fields_with_nonce(self, scope: Scope) -> tuple[list[Pair], str]:
        """A fresh nonce, which the application finds in `scope["state"]["csp_nonce"]`, and `fields` with it."""
        scope.setdefault("state", {})["csp_nonce"] = nonce = new_nonce()
        return self._other.filled(nonce), nonce

    def completed(self, message: Message, scope: Scope, nonce: str) -> Message:
        """The head of a response, ordinary or not, with our fields: a copy, as it may be sent again."""
        status = message.get("status", 200)
        if status < 200:
            return message  # an interim response is not the response
        headers = list(message.get("headers") or ())
        own = {name.lower(): value for name, value in headers}
        pairs = self._fields(own, scope).filled(nonce)
        if status == _NOT_MODIFIED:
            # It would replace the policy of the page that the browser has, whatever that is (RFC 9111 section 3.2).
            pairs = [pair for pair in pairs if pair[0] not in _CSP]
        self._learn(headers)
        return {**message, "headers": self._merged(headers, pairs)}

    def _fields(self, own: Mapping[bytes, bytes], scope: Scope) -> Fields:
        content_type = own.get(b"content-type", b"")
        if _HTML.match(content_type):
            return self._pages.get(page_of(scope) or "", self._html)
        origin = own.get(b"access-control-allow-origin")
        if origin and self._is_closed and _SAME_ORIGIN[0] not in own and _EMBEDDED.match(content_type):
            self._is_closed = False
            _log.warning(_EMBEDDING, origin.decode("latin-1"))
        return self._other

    def _learn(self, headers: Iterable[Pair]) -> None:
        for name, value in headers:
            if name.lower() not in self._special and len(self.harmless) < _MOST:
                self.harmless.add(name)
            elif name == b"content-type" and not _HTML.match(value) and len(self.ordinary_types) < _MOST:
                self.ordinary_types.add(value)

    def _merged(self, headers: Iterable[Pair], pairs: list[Pair]) -> list[Pair]:
        replaced = {name for name, _ in pairs} if self._override else set[bytes]()
        result = []
        taken = set()
        for name, value in headers:
            key = name.lower()
            if key in replaced or (key == _HSTS and (not self._hsts or key in taken)):
                continue
            taken.add(key)
            result.append((name, value))
        return result + [pair for pair in pairs if pair[0] not in taken]
