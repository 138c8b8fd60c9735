"""Answers of limited size, within limited time. The time-outs of `requests` are for single reads, and it reads all."""

from __future__ import annotations

import io
import socket
import ssl
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection

_CONNECT: Final = 10.0
_EXCHANGE: Final = 30.0
"""Seconds for a request and its answer together."""
_LARGEST: Final = 256 * 1024
"""Bytes. A certificate with 100 names and its chain has 20 KiB."""


class TooLargeError(requests.RequestException):
    """An answer is larger than any of ours should be."""


class BoundedAdapter(HTTPAdapter):
    """Transport for one conversation, which ends at `deadline` (`time.monotonic`); `ca_file` is all that it trusts.

    A thread cuts the connection of an exchange that takes too long: a CA that sends a byte from time to time would
    otherwise be waited for without end.
    """

    def __init__(self, deadline: float, ca_file: Path | None = None) -> None:
        self._deadline = deadline
        self._ca_file = ca_file
        self._connecting: weakref.WeakSet[HTTPConnection] = weakref.WeakSet()
        self._connected: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools()

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = self._pools()
        return manager

    def send(self, request: requests.PreparedRequest, *_args: Any, **kwargs: Any) -> requests.Response:
        """Raises requests.RequestException. The response has its whole body."""
        seconds = min(_EXCHANGE, self._deadline - time.monotonic())
        if seconds <= 0:
            raise requests.Timeout("no time is left for this request")
        kwargs |= {"timeout": (min(_CONNECT, seconds), seconds), "stream": True}
        if self._ca_file is not None:
            kwargs["verify"] = str(self._ca_file)
        with self._cutting(seconds):
            response = super().send(request, **kwargs)
            response.raw = io.BytesIO(_body(response.raw))
        return response

    @contextmanager
    def _cutting(self, seconds: float) -> Iterator[None]:
        late = threading.Event()
        timer = threading.Timer(seconds, self._cut, (late,))
        timer.daemon = True
        timer.start()
        try:
            yield
        except requests.RequestException as error:
            if not late.is_set() and not isinstance(error, requests.ReadTimeout):
                raise
            late.set()
        finally:
            timer.cancel()
        if late.is_set():  # also without an error: an answer without a length ends where the connection does
            raise requests.Timeout("no complete answer in time")

    def _cut(self, late: threading.Event) -> None:
        late.set()
        # A connection drops its socket when an answer has no length, and the answer goes on to read from it.
        for one in [*(each.sock for each in list(self._connecting)), *list(self._connected)]:
            with suppress(OSError, TypeError):
                # Not the method of SSLSocket, which drops its TLS object under the thread that reads.
                socket.socket.shutdown(one, socket.SHUT_RDWR)

    def _pools(self) -> dict[str, type[urllib3.HTTPConnectionPool]]:
        """The pools of urllib3 with connections that are known here from their first moment."""
        connecting, connected = self._connecting, self._connected

        class Plain(HTTPConnection):
            def connect(self) -> None:
                connecting.add(self)
                super().connect()
                connected.add(self.sock)

        class Secure(HTTPSConnection):
            def connect(self) -> None:
                connecting.add(self)
                super().connect()
                connected.add(self.sock)

        plain = type("Pool", (urllib3.HTTPConnectionPool,), {"ConnectionCls": Plain})
        secure = type("SecurePool", (urllib3.HTTPSConnectionPool,), {"ConnectionCls": Secure})
        return {"http": plain, "https": secure}


def _body(raw: Any) -> bytes:
    try:
        body: bytes = raw.read(_LARGEST + 1, decode_content=True)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise requests.ConnectionError(error) from error
    if len(body) > _LARGEST:
        raw.close()
        raise TooLargeError(f"more than {_LARGEST // 1024} KiB")
    return body


def cause(error: BaseException) -> str:
    """What the system or OpenSSL said: `requests` wraps it into several layers."""
    at: BaseException | None = error
    said = str(error)
    while at is not None:
        if isinstance(at, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {at.verify_message}"
        if isinstance(at, OSError) and at.strerror and not isinstance(at, requests.RequestException):
            return at.strerror
        at = at.__cause__ or at.__context__
    return said
