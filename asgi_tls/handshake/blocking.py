"""Handshakes on blocking sockets, as gunicorn's sync and threaded workers make them.

OpenSSL itself writes its alerts to such a socket. What is left is to limit the time, to answer plain HTTP, to report
the outcome, and to keep unread data from turning the end of the connection into a reset.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import ssl
import time
from collections.abc import Callable
from typing import Final, NoReturn

from asgi_tls import _openssl
from asgi_tls._openssl.client_hello import current
from asgi_tls.certificate.challenges import challenges
from asgi_tls.handshake import outcomes, plain_http
from asgi_tls.handshake.alerts import NAMES, UNEXPECTED, alert_by_reason, alert_for_garbage, alert_in, is_webrtc
from asgi_tls.handshake.challenge import hello_in
from asgi_tls.handshake.facts import session_fields
from asgi_tls.handshake.outcomes import Outcome
from asgi_tls.handshake.peer import address_of, close_blocking, local_address
from asgi_tls.handshake.reception import Reception

_BEGINNING: Final = 10  # bytes, enough to recognize HTTP and STUN
_POLL_MS: Final = 10
_CLOSED: Final = getattr(select, "POLLRDHUP", 0)  # on Linux; POLLHUP is reported in any case
_receive = socket.socket.recv  # of the socket itself, below TLS


class TLSSocket(ssl.SSLSocket):
    """One server side of a connection on a blocking socket."""

    tls_server_name: str | None = None
    tls_name_refused = False
    tls_group: str | None = None  # see `_openssl.client_hello`
    tls_widen: Callable[[], object] | None = None
    tls_hello: bytes | None = b""  # see `TLSObject`
    tls_is_validation = False
    _tls_seen = _tls_has_sent = False

    def do_handshake(self, block: bool = False) -> None:
        """Make the handshake within the server's limit. Raises ssl.SSLError, and OSError on a closed connection."""
        reception: Reception | None = getattr(self.context, "tls_reception", None)
        if self._tls_seen or not self.server_side or reception is None or self.gettimeout() == 0:
            super().do_handshake(block)
            return
        self._tls_seen = True
        before, started = self.gettimeout(), time.monotonic()
        try:
            address = address_of(self.getpeername())
            if address[0] is not None and not reception.dispatcher.admits(address[0]):
                raise ssl.SSLError(ssl.SSL_ERROR_SSL, "the address is blocked")
            try:
                self._tls_shake_hands(reception, lambda: self._tls_wait_until(started + reception.timeout))
            except _Failed as failed:
                alert, sni = failed.alert, self.tls_server_name
                reception.report_failure(address, failed.outcome, has_sent=self._tls_has_sent, alert=alert, sni=sni)
                with socket.socket(fileno=self.detach()) as plain:
                    close_blocking(plain)
                raise failed.error from None
            if reception.dispatcher.wants_sessions():
                group, resumed = _openssl.negotiated_group(self), bool(self.session_reused)
                elapsed = time.monotonic() - started
                fields = session_fields(self, address, group=group, resumed=resumed, elapsed=elapsed)
                reception.dispatcher.tell_session(fields)
            if self.tls_is_validation:  # which has its certificate, and gets nothing else
                self.close()
                raise ConnectionResetError(errno.ECONNRESET, "an ACME CA has validated a name, and is done")
        finally:
            if self.fileno() != -1:
                self.settimeout(before)

    def shutdown(self, how: int) -> None:
        """Send close_notify first: gunicorn closes connections without it."""
        self._tls_send_close_notify()
        super().shutdown(how)

    def close(self) -> None:
        """Likewise."""
        self._tls_send_close_notify()
        super().close()

    def _tls_send_close_notify(self) -> None:
        """RFC 8446 section 6.1: without it, a client cannot tell the end from an attack that cuts the connection, and
        OpenSSL does not resume the session from its cache.
        """
        inner = self._sslobj  # type: ignore[attr-defined]  # see ssl_object.py
        if inner is not None and self.fileno() != -1:
            self.settimeout(0)
            with contextlib.suppress(OSError):  # no handshake yet, no room to send it, or no answer yet
                inner.shutdown()

    def tls_refusal(self) -> str | None:
        """Why a client whose handshake has succeeded is refused after all."""
        return None

    def tls_local_ip(self) -> str | None:
        """The address that the client has connected to, None over a unix socket."""
        return local_address(self)[0]

    def _tls_shake_hands(self, reception: Reception, limit: Callable[[], None]) -> None:
        first = b""
        try:
            limit()
            first = _receive(self, _BEGINNING, socket.MSG_PEEK)
            self._tls_has_sent = bool(first)
            if is_webrtc(first):
                self._tls_end(UNEXPECTED, outcomes.STUN_REQUEST, NAMES[10])
            if first and plain_http.may_be_http(first):
                self._tls_answer(reception, limit)
            if first and challenges.is_waiting:
                self._tls_collect(limit)
            limit()
            current.handshake = self
            try:
                super().do_handshake()
            finally:
                current.handshake = None
            if (why := self.tls_refusal()) is not None:
                raise _Failed(ssl.SSLError(ssl.SSL_ERROR_SSL, why), ("REFUSED", why))
        except TimeoutError:
            # gunicorn logs a traceback for a timeout, and nothing for a connection that is gone; this is reported here.
            gone = ConnectionResetError(errno.ECONNRESET, "the handshake took too long")
            raise _Failed(gone, outcomes.timed_out(reception.timeout)) from None
        except OSError as error:
            if not isinstance(error, ssl.SSLError) or isinstance(error, ssl.SSLEOFError):
                raise _Failed(error, outcomes.left(bool(first))) from None
            outcome = outcomes.outcome_of(error, self)
            if record := alert_for_garbage(error, first[0] if first else None):
                with contextlib.suppress(OSError):
                    socket.socket.send(self, record)
            raise _Failed(error, outcome, self._tls_alert(error, record)) from None

    def _tls_collect(self, limit: Callable[[], None]) -> None:
        """Look at the whole ClientHello, and leave it to OpenSSL. The system says nothing when more of it comes."""
        while hello_in(first := _receive(self, 1 << 16, socket.MSG_PEEK)) is None:
            limit()
            if first == self.tls_hello and self._tls_has_left():
                break
            self.tls_hello = first
        self.tls_hello = first

    def _tls_has_left(self) -> bool:
        """Whether the client has closed its side; waits a moment for that."""
        poll = select.poll()
        poll.register(self, _CLOSED)
        return bool(poll.poll(_POLL_MS))

    def _tls_alert(self, error: ssl.SSLError, record: bytes) -> str | None:
        if record:
            return alert_in(record, error)
        if self.tls_name_refused:
            return NAMES[ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME]
        return alert_by_reason(error, (self.cipher() or (None,))[0])

    def _tls_answer(self, reception: Reception, limit: Callable[[], None]) -> None:
        request = b""
        while not plain_http.is_complete(request):
            limit()
            data = _receive(self, plain_http.HEAD_LIMIT)
            if not data:
                break
            request += data
        self._tls_end(reception.answer_plain_http(request, local_address(self)[1]), outcomes.HTTP_REQUEST)

    def _tls_end(self, answer: bytes, outcome: Outcome, alert: str | None = None) -> NoReturn:
        with contextlib.suppress(OSError):
            socket.socket.sendall(self, answer)
        raise _Failed(ssl.SSLError(ssl.SSL_ERROR_SSL, outcome[1]), outcome, alert)

    def _tls_wait_until(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the handshake takes too long")
        self.settimeout(left)


class _Failed(Exception):  # noqa: N818 -- it carries an error
    def __init__(self, error: OSError, outcome: Outcome, alert: str | None = None) -> None:
        self.error, self.outcome, self.alert = error, outcome, alert
