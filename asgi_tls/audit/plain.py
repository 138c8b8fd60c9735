"""Plain HTTP: what the HTTPS port says to it, and where the HTTP port leads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urljoin, urlsplit

from asgi_tls.audit.http import Answer, get
from asgi_tls.audit.target import Caller, hang_up

_HTTP: Final = 80


@dataclass(frozen=True, kw_only=True)
class Plain:
    """`answer` is None when nothing came that is HTTP; `open` is False when nobody listens."""

    answer: Answer | None
    open: bool = True

    @property
    def summary(self) -> str:
        """In a few words."""
        if not self.open:
            return "closed"
        if self.answer is None:
            return "no answer"
        leads = f" to {self.answer.location}" if self.answer.location else ""
        return f"{self.answer.status}{leads}"


@dataclass(frozen=True, kw_only=True)
class Hop:
    """The first hop of a redirect."""

    scheme: str
    host: str


def on_the_tls_port(caller: Caller) -> Plain:
    """Plain HTTP to the HTTPS port."""
    target = caller.target
    try:
        sock = caller.call()
    except OSError:
        return Plain(answer=None)
    try:
        return Plain(answer=get(sock, target.authority, target.path, target.timeout))
    except OSError:
        return Plain(answer=None)
    finally:
        hang_up(sock)


def on_the_http_port(caller: Caller) -> Plain:
    """The same to the port of plain HTTP."""
    target = caller.target
    try:
        sock = caller.call_http()
    except OSError:
        return Plain(answer=None, open=False)
    try:
        authority = target.authority_at(target.http_port, _HTTP)
        return Plain(answer=get(sock, authority, target.path, target.timeout))
    except OSError:
        return Plain(answer=None)
    finally:
        hang_up(sock)


def first_hop(answer: Answer, asked: str) -> Hop | None:
    """Where an answer to the URL `asked` leads, None when it is no redirect or its target cannot be read."""
    location = answer.location
    if location is None:
        return None
    try:
        parts = urlsplit(urljoin(asked, location))
        return Hop(scheme=parts.scheme, host=(parts.hostname or "").rstrip("."))
    except ValueError:
        return None
