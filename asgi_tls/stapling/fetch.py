"""Ask an OCSP responder, over HTTP: within a time, up to a size, and nowhere but where the certificate points.

The address comes from a certificate of the operator's own, by way of its CA. What is there may be broken, or somebody
else's by now: redirects are few, and stay with http(s) and the same host, so that nobody is led to the services of this
network; the proxies, certificates and passwords that the environment names are not used; a response that drips in is
cut off.

Requests are POSTs, which every responder takes, and which no cache on the way answers with something old; how long a
response is fresh stands in the response itself, signed, so Cache-Control is not read (RFC 5019 section 6).
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from asgi_tls.events import StaplingStatus

if TYPE_CHECKING:
    import httpx

TIMEOUT: Final = 10.0
"""Seconds for all of it: names, redirects, the last byte."""

MAX_SIZE: Final = 64 << 10
"""Bytes. A response with the certificate of a delegated responder takes 2 KiB."""

_MAX_REDIRECTS: Final = 3
_STEP: Final = 5.0
_REDIRECTS: Final = frozenset({301, 302, 307, 308})
_HEADERS: Final = {
    "Content-Type": "application/ocsp-request",
    "Accept": "application/ocsp-response",
    "Accept-Encoding": "identity",
    "User-Agent": "asgi_tls",
}


class FetchError(Exception):
    """No response; `status` is one of "unreachable", "invalid" and "unavailable"."""

    def __init__(self, msg: str, status: StaplingStatus = "unreachable") -> None:
        super().__init__(msg)
        self.status: StaplingStatus = status


def fetch(url: str, request: bytes, *, timeout: float = TIMEOUT) -> bytes:
    """The body of the answer to this OCSPRequest. Takes about `timeout` seconds at most.

    Raises FetchError.
    """
    try:
        import httpx
    except ImportError:
        raise FetchError("fetching needs the package httpx: pip install 'asgi-tls[stapling]'", "unavailable") from None

    watch = _Deadline(timeout)
    try:
        with watch, httpx.Client(trust_env=False, timeout=min(_STEP, timeout), headers=_HEADERS) as client:
            return _ask(client, url, request, watch)
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        if watch.is_over:
            raise FetchError(f"{url} did not answer within {timeout:g} s") from None
        raise FetchError(f"{url} does not answer: {str(error) or type(error).__name__}") from None


def _ask(client: httpx.Client, url: str, request: bytes, watch: _Deadline) -> bytes:
    host: str | None = None
    for _ in range(_MAX_REDIRECTS + 1):
        if not url.lower().startswith(("http://", "https://")):
            raise FetchError(f"{url[:200]!r} is no http(s) address", "invalid")
        with client.stream("POST", url, content=request, extensions={"trace": watch.trace}) as response:
            host = host or response.url.host
            if response.status_code in _REDIRECTS and "location" in response.headers:
                target = response.url.join(response.headers["location"])
                if target.host != host:
                    raise FetchError(f"{url} redirects to another host, {target.host[:200]!r}", "invalid")
                url = str(target)
                continue
            if response.status_code != 200:
                raise FetchError(f"{url} answered with HTTP status {response.status_code}", "invalid")
            body = bytearray()
            for chunk in response.iter_raw():
                body += chunk
                if len(body) > MAX_SIZE:
                    raise FetchError(f"{url} answered with more than {MAX_SIZE >> 10} KiB", "invalid")
            return bytes(body)
    raise FetchError(f"{url} is the end of {_MAX_REDIRECTS} redirects and redirects again", "invalid")


class _Deadline:
    """Cuts off the connection in use when the time is over: httpx limits each step, not their sum."""

    def __init__(self, timeout: float) -> None:
        self._end = time.monotonic() + timeout
        self._timer = threading.Timer(timeout, self._cut)
        self._timer.daemon = True
        self._socket: Any = None

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self._end

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def trace(self, name: str, info: dict[str, Any]) -> None:
        """What httpx calls on the way."""
        if name in {"connection.connect_tcp.complete", "connection.start_tls.complete"}:
            self._socket = info["return_value"].get_extra_info("socket")
        if self.is_over:
            raise TimeoutError

    def _cut(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
