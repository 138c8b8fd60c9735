"""One GET request over whatever connection there is, and the head of its answer. Nothing of the body is kept."""

from __future__ import annotations

import contextlib
import http.client
import io
import re
import socket
import time
from dataclasses import dataclass
from importlib import metadata
from typing import Final

from asgi_tls.audit.target import receive

_LARGEST_HEAD: Final = 64 * 1024
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?\r?\n")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The status and the fields in their order; values are the server's words, unchecked."""

    status: int
    fields: tuple[tuple[str, str], ...]

    def all(self, name: str) -> tuple[str, ...]:
        """Every value of a field, by its lower-case name."""
        return tuple(value for key, value in self.fields if key.lower() == name)

    def first(self, name: str) -> str | None:
        return next(iter(self.all(name)), None)

    @property
    def location(self) -> str | None:
        """Where a redirect leads."""
        return self.first("location") if 300 <= self.status < 400 else None


def get(sock: socket.socket, authority: str, path: str, timeout: float) -> Answer | None:
    """Ask, and read the head of the answer within `timeout` seconds; None when what came is no HTTP. Raises OSError."""
    request = (
        f"GET {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: asgi-tls/{metadata.version('asgi-tls')}\r\n"
        "Accept: */*\r\nConnection: close\r\n\r\n"
    )
    sock.sendall(request.encode("ascii"))
    deadline = time.monotonic() + timeout
    data = b""
    with contextlib.suppress(ConnectionError):  # an answer before a reset is an answer
        while parse(data) is None and len(data) < _LARGEST_HEAD:
            more = receive(sock, deadline)
            if not more:
                break
            data += more
    return parse(data)


def parse(data: bytes) -> Answer | None:
    """The head of an answer, None while it is not whole or when it is none. Interim answers are skipped."""
    while (line := _STATUS_LINE.match(data)) is not None:
        head, separator, rest = _head(data)
        if not separator:
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
