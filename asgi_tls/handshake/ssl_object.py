"""A handshake, observed where it happens: in the SSLObject that every asyncio transport drives.

`TLSObject` goes into `SSLContext.sslobject_class`, a documented hook that asyncio, uvloop and all servers use.
Both loops drop what OpenSSL has to send when a handshake fails, so it is sent from here: over the peer's own socket
where `accept.py` has left it, else by asking the loop to write once more before it learns of the failure.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any, Final, NoReturn

from asgi_tls import _openssl
from asgi_tls._openssl.client_hello import current
from asgi_tls.certificate.challenges import challenges
from asgi_tls.connection import TLSConnection
from asgi_tls.handshake import alerts, outcomes, plain_http
from asgi_tls.handshake.facts import describe, session_fields
from asgi_tls.handshake.outcomes import Outcome
from asgi_tls.handshake.peer import (
    HANDSHAKE_RECORD,
    LET_GO_AFTER,
    NOWHERE,
    Peer,
    current_peer,
    end,
    let_go,
    local_address,
    send_and_close,
)
from asgi_tls.handshake.reception import Reception
from asgi_tls.listeners.dispatch import Dispatcher

_AGAIN: Final = (ssl.SSLWantReadError, ssl.SSLWantWriteError)
_CHUNK: Final = 1 << 14  # RFC 8446 section 5.1: the most that a record has
_ORDINARY: Final = (*_AGAIN, ssl.SSLZeroReturnError, ssl.SSLEOFError)


class HandshakeContext(ssl.SSLContext):
    """The outer context of a server. Without `tls_reception` nothing is reported, and there is no time limit.

    `tls_before_each` is called before each handshake, `tls_on_no_ticket` when tickets are switched off.
    """

    tls_reception: Reception | None = None
    tls_before_each: Callable[[], None] | None = None
    tls_on_no_ticket: Callable[[], None] | None = None

    # Where somebody calls `aiofastnet.create_server` with it: its own engine makes connections without a Python object,
    # and CPython's SNI callback would end the process.
    _aiofastnet_force_fallback_ssl = True

    @property  # type: ignore[override]  # of the type that the documented class has, not the one below it
    def options(self) -> ssl.Options:
        return super().options

    @options.setter
    def options(self, value: ssl.Options) -> None:
        ssl.SSLContext.options.__set__(self, value)  # type: ignore[attr-defined]
        # OpenSSL would put the sessions into its cache instead.
        if value & ssl.OP_NO_TICKET and self.tls_on_no_ticket is not None:
            self.tls_on_no_ticket()

    def wrap_bio(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """Also keep the two buffers: what the client sent first, and what OpenSSL has to send."""
        if self.tls_before_each is not None:
            self.tls_before_each()
        made = super().wrap_bio(incoming, outgoing, *args, **kwargs)
        if isinstance(made, TLSObject):
            made._tls_incoming, made._tls_outgoing, made._tls_reception = incoming, outgoing, self.tls_reception
            made._tls_peer = peer = current_peer.get()
            if peer is None:
                made._tls_started = time.perf_counter()
        return made

    def wrap_socket(
        self,
        sock: socket.socket,
        server_side: bool = False,
        do_handshake_on_connect: bool = True,
        *args: Any,
        **kwargs: Any,
    ) -> ssl.SSLSocket:
        """Make the handshake at once where that may block: else OpenSSL would make it unobserved in the first read."""
        if self.tls_before_each is not None:
            self.tls_before_each()
        at_once = do_handshake_on_connect or (server_side and sock.gettimeout() != 0)
        return super().wrap_socket(sock, server_side, at_once, *args, **kwargs)


class TLSObject(ssl.SSLObject):
    """One server side of a connection. `tls_server_name` is set by the context when the ClientHello names it."""

    tls_server_name: str | None = None
    tls_name_refused = False
    tls_group: str | None = None  # the only one that it may use, None where it may use all
    tls_widen: Callable[[], object] | None = None  # see `_openssl.client_hello`
    # What the client has sent, while an ACME challenge is pending; None once it is read.
    tls_hello: bytes | bytearray | None = b""
    tls_is_validation = False  # a CA's connection, which ends with its handshake

    _tls_reception: Reception | None = None
    _tls_peer: Peer | None = None
    _tls_incoming: ssl.MemoryBIO | None = None
    _tls_outgoing: ssl.MemoryBIO | None = None
    _tls_head = b""  # of what may be plain HTTP
    _tls_first: int | None = None
    _tls_is_tls = False
    _tls_is_ending = False
    _tls_started = 0.0  # where there is no peer to ask
    _tls_failure: ssl.SSLError | None = None

    def do_handshake(self) -> None:
        """Continue it. What OpenSSL raises is reported, and its alert sent, before it goes on to the loop."""
        if not self._tls_is_tls:
            self._tls_look()
        if challenges.is_waiting and self.tls_hello is not None:
            self._tls_collect()
        current.handshake = self
        # `_sslobj` is what SSLObject's own methods call, since Python 3.5; these two are called for every connection.
        try:
            self._sslobj.do_handshake()  # type: ignore[attr-defined]
        except _AGAIN:
            raise
        except ssl.SSLError as error:
            self._tls_fail(error)
            raise
        finally:
            current.handshake = None
        if self.tls_is_validation:
            self._tls_end_validation()
        if (why := self.tls_refusal()) is not None:
            self._tls_refuse(why)
        if self._tls_reception is not None:
            self._tls_report_session(self._tls_reception.dispatcher)

    def read(self, len: int = 1024, buffer: Any = None) -> Any:  # noqa: A002 -- the name in the standard library
        """Decrypt. An alert that OpenSSL queues for a broken record is sent, where the loop would drop it."""
        try:
            if buffer is None:
                return self._sslobj.read(len)  # type: ignore[attr-defined]
            return self._sslobj.read(len, buffer)  # type: ignore[attr-defined]
        except _ORDINARY:
            raise
        except ssl.SSLError as error:
            if self._tls_is_ending:  # see `unwrap`; uvloop reads what is left itself
                return b"" if buffer is None else 0
            if self._tls_failure is None:
                self._tls_fail(error)
            if self._tls_peer is not None:  # asyncio's streams keep the error, and raise it again
                self._tls_peer.peer_loop.call_later(LET_GO_AFTER, let_go, error)
            raise

    def unwrap(self) -> None:
        """Send close_notify. The peer need not answer it, and the loop does not wait for an answer.

        What the peer sends from now on is dropped. An error in it ends the connection and nothing else: hypercorn would
        end its worker by it.
        """
        try:
            while True:
                try:
                    self._sslobj.shutdown()  # type: ignore[attr-defined]
                except _AGAIN:
                    raise
                except ssl.SSLError:  # APPLICATION_DATA_AFTER_CLOSE_NOTIFY, or what is no record
                    if not self._sslobj.read(_CHUNK):  # type: ignore[attr-defined]
                        return
                else:
                    return
        except ssl.SSLWantReadError:
            if self._tls_peer is not None and not self._tls_is_ending:
                self._tls_is_ending = True
                end(self._tls_peer)
            raise
        except ssl.SSLError:
            return

    def getpeercert(self, binary_form: bool = False) -> Any:
        """As in `ssl`, but {} where the names cannot be read: both loops ask after a handshake, and would end it."""
        try:
            return super().getpeercert(binary_form)
        except (UnicodeDecodeError, ssl.SSLError):
            return {}

    @functools.cached_property
    def tls_connection(self) -> TLSConnection | None:
        """The facts of the handshake, read once; None before it has finished."""
        return describe(self)

    def _tls_look(self) -> None:
        """Take plain HTTP out before OpenSSL sees it: OpenSSL would swallow its first bytes."""
        if self._tls_failure is not None:
            raise self._tls_failure
        incoming = self._tls_incoming
        if incoming is None:
            return
        data = incoming.read()
        if not data:  # the loop starts before the peer does
            raise ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "nothing has come yet")
        if self._tls_peer is not None:
            self._tls_peer.peer_has_sent = True
        data = self._tls_head + data
        if alerts.is_webrtc(data):
            self._tls_turn_away(alerts.UNEXPECTED, outcomes.STUN_REQUEST, alerts.NAMES[10])
        elif data[0] == HANDSHAKE_RECORD or not plain_http.may_be_http(data):
            self._tls_is_tls, self._tls_head, self._tls_first = True, b"", data[0]
            incoming.write(data)
        elif plain_http.is_complete(data):
            self._tls_answer(data)
        else:
            self._tls_head = data

    def _tls_collect(self) -> None:
        """Keep a copy of the ClientHello, which may come in pieces, for the SNI callback."""
        if self._tls_incoming is not None and self.tls_hello is not None:
            data = self._tls_incoming.read()
            self._tls_incoming.write(data)
            if not self.tls_hello:
                self.tls_hello = bytearray()  # a client may send it byte by byte
            self.tls_hello += data

    def _tls_end_validation(self) -> NoReturn:
        """The CA has seen the certificate. Send what completes its handshake, and close_notify.

        A session ticket of TLS 1.3 goes along: records are numbered, so the next one could not be read without it. It
        resumes a session without a client certificate, which any client can have where none is required.
        """
        outgoing, last = self._tls_outgoing, b""
        if self._tls_reception is not None:
            self._tls_report_session(self._tls_reception.dispatcher)
        if outgoing is not None:
            with contextlib.suppress(ssl.SSLError):
                self._sslobj.shutdown()  # type: ignore[attr-defined]
            last = outgoing.read()
        error = ssl.SSLError(ssl.SSL_ERROR_SSL, "an ACME CA has validated a name, and is done")
        self._tls_is_tls = False  # `_tls_look` raises from now on
        self._tls_send_last(last, error)
        raise error

    def _tls_answer(self, request: bytes) -> None:
        reception, answer = self._tls_reception, b""
        if reception is not None:
            port = None if self._tls_peer is None else local_address(self._tls_peer)[1]
            answer = reception.answer_plain_http(request, port)
        self._tls_turn_away(answer, outcomes.HTTP_REQUEST)

    def _tls_turn_away(self, answer: bytes, outcome: Outcome, alert: str | None = None) -> NoReturn:
        error = ssl.SSLError(ssl.SSL_ERROR_SSL, outcome[1])
        self._tls_report_failure(outcome, alert)
        self._tls_send_last(answer, error)
        raise error

    def _tls_fail(self, error: ssl.SSLError) -> None:
        queued = self._tls_outgoing.read() if self._tls_outgoing is not None else b""
        queued = queued or alerts.alert_for_garbage(error, self._tls_first)
        self._tls_is_tls = False  # `_tls_look` raises from now on
        self._tls_report_failure(outcomes.outcome_of(error, self), alerts.alert_in(queued, error))
        self._tls_send_last(queued, error)

    def _tls_send_last(self, data: bytes, error: ssl.SSLError) -> None:
        """Send all that is left to send. Raises SSLWantReadError where the loop has to do that."""
        if self._tls_peer is not None:
            if data:
                send_and_close(self._tls_peer.peer_loop, self._tls_peer, data)
            return
        self._tls_failure = error
        if data and self._tls_outgoing is not None:
            self._tls_outgoing.write(data)
            raise ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "an alert is left to send") from error

    def tls_refusal(self) -> str | None:
        """Why a client whose handshake has succeeded is refused after all."""
        return None

    def _tls_refuse(self, why: str) -> None:
        if self._tls_outgoing is not None:
            self._tls_outgoing.read()  # a session ticket
        self._tls_report_failure(("REFUSED", why), None)
        raise ssl.SSLError(ssl.SSL_ERROR_SSL, why)

    def _tls_report_session(self, dispatcher: Dispatcher) -> None:
        peer = self._tls_peer
        if peer is not None:
            peer.peer_reported = True
        if not dispatcher.wants_sessions():
            return
        resumed = bool(self.session_reused)
        group = self.tls_group
        if group is None or resumed:  # TLS 1.2 resumes without a key exchange
            group = _openssl.negotiated_group(self)
        address, started = (NOWHERE, self._tls_started) if peer is None else (peer.peer_address, peer.peer_started)
        elapsed = time.perf_counter() - started
        dispatcher.tell_session(session_fields(self, address, group=group, resumed=resumed, elapsed=elapsed))

    def tls_local_ip(self) -> str | None:
        """The address that the client has connected to, None where that is not known."""
        return None if self._tls_peer is None else local_address(self._tls_peer)[0]

    def _tls_report_failure(self, outcome: Outcome, alert: str | None) -> None:
        peer = self._tls_peer
        if peer is not None:
            peer.peer_reported = True
        if self._tls_reception is not None:
            address = NOWHERE if peer is None else peer.peer_address
            self._tls_reception.report_failure(address, outcome, has_sent=True, alert=alert, sni=self.tls_server_name)
