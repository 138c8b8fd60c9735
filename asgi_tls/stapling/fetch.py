"""Send a request to an OCSP responder over HTTP: with limits of time, size and redirects.

The URL comes from the operator's certificate. The host may be broken, or may belong to somebody else by now. So
redirects must stay on the same host and on http(s): nobody can direct requests to services of this network. Proxies,
certificates and passwords of the environment are not used, and slow responses are cut off.

Requests are POSTs, which every responder accepts and which no cache answers with an old response. The response contains
its own validity, signed, so Cache-Control is ignored (RFC 5019 section 6).
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
"""Seconds in total, from the name lookup to the last byte."""

MAX_SIZE: Final = 64 << 10
"""Bytes. A response with the certificate of a delegated responder has 2 KiB."""

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
    """The body of the response to this OCSPRequest, within about `timeout` seconds.

    Raises FetchError.
    """
    try:
        import httpx
    except ImportError:
        raise FetchError(
            "the package httpx is not installed: pip install 'asgi-tls[stapling]'", "unavailable"
        ) from None
    if not hasattr(httpx, "HTTPError"):  # its client takes neither a time limit nor trust_env
        raise FetchError("httpx 1 is installed, which is another library: pip install 'httpx<1'", "unavailable")

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
            raise FetchError(f"{url[:200]!r} is not an http(s) URL", "invalid")
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
    raise FetchError(f"{url} redirects after {_MAX_REDIRECTS} redirects", "invalid")


class _Deadline:
    """Closes the connection when the time is over: httpx limits each step, not their sum."""

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
        """Called by httpx at each step."""
        if name in {"connection.connect_tcp.complete", "connection.start_tls.complete"}:
            self._socket = info["return_value"].get_extra_info("socket")
        if self.is_over:
            raise TimeoutError

    def _cut(self) -> None:
        if self._socket is not None:  # the name may still be looked up
            with contextlib.suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
