"""One GET request over any connection, and the head of its response. Nothing of the body is kept."""

from __future__ import annotations

import contextlib
import http.client
import io
import re
from dataclasses import dataclass
from importlib import metadata
from typing import Final
from urllib.parse import urljoin, urlsplit

from asgi_tls.audit.probes.caller import Caller, Stream
from asgi_tls.audit.probes.target import Target

_LARGEST_HEAD: Final = 64 * 1024
_MOST_HEADS: Final = 10
_PREFIX: Final = b"HTTP/1."
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?\r?\n")


@dataclass(frozen=True, kw_only=True)
class Hop:
    """The target of a redirect."""

    scheme: str
    host: str


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The status, and the fields in their order; the values are the server's text, unchecked."""

    status: int
    fields: tuple[tuple[str, str], ...]

    def all(self, name: str) -> tuple[str, ...]:
        """Every value of a field, by its lower-case name."""
        return tuple(value for key, value in self.fields if key.lower() == name)

    def first(self, name: str) -> str | None:
        return next(iter(self.all(name)), None)

    @property
    def location(self) -> str | None:
        """The target of a redirect."""
        return self.first("location") if 300 <= self.status < 400 else None

    def leads_to(self, asked: str) -> Hop | None:
        """Where a redirect of the URL `asked` leads; None if this is not a redirect, or it cannot be read."""
        if self.location is None:
            return None
        try:
            parts = urlsplit(urljoin(asked, self.location))
            return Hop(scheme=parts.scheme, host=(parts.hostname or "").rstrip("."))
        except ValueError:
            return None


@dataclass(frozen=True, kw_only=True)
class Plain:
    """Plain HTTP on one port. `answer` is None if no HTTP response came; `open` is False if nobody listens."""

    answer: Answer | None
    open: bool = True

    @property
    def summary(self) -> str:
        if not self.open:
            return "closed"
        if self.answer is None:
            return "no answer"
        leads = f" to {self.answer.location}" if self.answer.location else ""
        return f"{self.answer.status}{leads}"


def on_the_tls_port(caller: Caller) -> Plain:
    """Plain HTTP to the HTTPS port."""
    target = caller.target
    try:
        with caller.call() as stream:
            return Plain(answer=get(stream, target, target.authority))
    except OSError:
        return Plain(answer=None)


def on_the_http_port(caller: Caller) -> Plain:
    """The same to the port for plain HTTP."""
    target, is_open = caller.target, False
    try:
        with caller.call(target.http_port) as stream:
            is_open = True
            return Plain(answer=get(stream, target, target.plain_authority))
    except OSError:
        return Plain(answer=None, open=is_open)


def get(stream: Stream, target: Target, authority: str) -> Answer | None:
    """Ask, and read the head of the response; None if it is not HTTP. Raises OSError."""
    request = (
        f"GET {target.path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: asgi-tls/{metadata.version('asgi-tls')}\r\n"
        "Accept: */*\r\nConnection: close\r\n\r\n"
    )
    stream.within(target.timeout)
    stream.send(request.encode("ascii"))
    data = b""
    while len(data) < _LARGEST_HEAD and (more := stream.receive()):
        data += more
        with contextlib.suppress(EOFError):
            return parse(data)
    return None


def parse(data: bytes) -> Answer | None:
    """The head of a response; None if it is not HTTP. A few interim ones are skipped. Raises EOFError if it goes on."""
    for _ in range(_MOST_HEADS):
        if not _PREFIX.startswith(data[: len(_PREFIX)]):
            return None
        head, separator, rest = _head(data)
        if not separator:
            raise EOFError("the head is incomplete")
        line = _STATUS_LINE.match(head)
        if line is None:
            return None
        status = int(line[1])
        if status >= 200:
            return _answer(status, head[line.end() :])
        data = rest
    return None


def _head(data: bytes) -> tuple[bytes, bytes, bytes]:
    for separator in (b"\r\n\r\n", b"\n\n"):
        head, found, rest = data.partition(separator)
        if found:
            return head + separator, found, rest
    return data, b"", b""


def _answer(status: int, fields: bytes) -> Answer | None:
    try:
        message = http.client.parse_headers(io.BytesIO(fields))
    except http.client.HTTPException:
        return None
    return Answer(status=status, fields=tuple((name, " ".join(str(value).split())) for name, value in message.items()))
