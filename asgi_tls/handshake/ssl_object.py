"""A handshake, observed where it happens: in the SSLObject that every asyncio transport drives.

`TLSObject` goes into `SSLContext.sslobject_class`, a documented seam that asyncio, uvloop and every server honour. Both
loops drop what OpenSSL has to say when a handshake fails, so it is sent from here: over the peer's own socket where
`accept.py` has left it, else by asking the loop to write once more before it learns of the failure.
"""

from __future__ import annotations

import functools
import re
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from asgi_tls import _openssl
from asgi_tls._openssl.client_hello import current
from asgi_tls.connection import TLSConnection
from asgi_tls.events import ClientErrorEvent, Event, SilentClientEvent
from asgi_tls.handshake import alerts, plain_http
from asgi_tls.handshake.facts import describe, session_fields, verified_chain
from asgi_tls.handshake.peer import HANDSHAKE_RECORD, Peer, current_peer, end, local_address, part

_AGAIN: Final = (ssl.SSLWantReadError, ssl.SSLWantWriteError)
_ORDINARY: Final = (*_AGAIN, ssl.SSLZeroReturnError, ssl.SSLEOFError)
# "[SSL: UNSUPPORTED_PROTOCOL] unsupported protocol (_ssl.c:1006)"
_MESSAGE: Final = re.compile(r"(?:\[[^\]]*\] )?(.*?)(?: \(_ssl\.c:\d+\))?", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Reception:
    """How a server receives its clients.

    `tell` takes an event, `tell_session` the fields of a SessionEvent, which is made when there is time for it, and
    where `wants_sessions` says that there is a use for it.
    `timeout` is in seconds, `covers` tells which hosts it has certificates for, `admits` which addresses may connect at
    all (None where nobody asks), `drained` whether every event has reached its listeners. `graceful_timeout` is how
    long, in seconds, connections may take to end when the server stops.
    """

    tell: Callable[[Event], None]
    tell_session: Callable[[dict[str, Any]], None]
    wants_sessions: Callable[[], bool]
    covers: Callable[[str], bool]
    timeout: float
    plain_http: plain_http.PlainHTTP
    admits: Callable[[str], bool] | None = None
    drained: Callable[[], bool] | None = None
    graceful_timeout: float | None = None


class HandshakeContext(ssl.SSLContext):
    """The outer context of a server. Without `tls_reception` nobody is told, and there is no limit to the time.

    `tls_before_each` is called before each handshake, `tls_on_no_ticket` when tickets are switched off.
    """

    tls_reception: Reception | None = None
    tls_before_each: Callable[[], None] | None = None
    tls_on_no_ticket: Callable[[], None] | None = None

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
        """Also keep the two buffers: what the peer said first, and what OpenSSL has to say to it."""
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
        """Shake hands at once where that may block: OpenSSL would do it unseen in the first read otherwise."""
        if self.tls_before_each is not None:
            self.tls_before_each()
        at_once = do_handshake_on_connect or (server_side and sock.gettimeout() != 0)
        return super().wrap_socket(sock, server_side, at_once, *args, **kwargs)


class TLSObject(ssl.SSLObject):
    """One server side of a connection. `tls_server_name` is set by the context when the ClientHello names it."""

    tls_server_name: str | None = None
    tls_name_refused = False
    tls_group: str | None = None  # the one that was left to it, None where it was left them all
    tls_widen: Callable[[], object] | None = None  # see `_openssl.client_hello`

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
        """Go on with it. What OpenSSL raises is told, and the alert sent, before it goes on to the loop."""
        if not self._tls_is_tls:
            self._tls_look()
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
        if (why := self.tls_refusal()) is not None:
            self._tls_refuse(why)
        if self._tls_reception is not None:
            self._tls_tell_session(self._tls_reception)

    def read(self, len: int = 1024, buffer: Any = None) -> Any:  # noqa: A002 -- the name in the standard library
        """Decrypt. An alert that OpenSSL queues for a broken record is sent, where the loop would drop it."""
        try:
            if buffer is None:
                return self._sslobj.read(len)  # type: ignore[attr-defined]
            return self._sslobj.read(len, buffer)  # type: ignore[attr-defined]
        except _ORDINARY:
            raise
        except ssl.SSLError as error:
            if self._tls_failure is None:
                self._tls_fail(error)
            raise

    def unwrap(self) -> None:
        """Say close_notify. The peer may leave it unanswered, and the loop does not wait for that."""
        try:
            self._sslobj.shutdown()  # type: ignore[attr-defined]
        except ssl.SSLWantReadError:
            if self._tls_peer is not None and not self._tls_is_ending:
                self._tls_is_ending = True
                end(self._tls_peer)
            raise

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
            self._tls_peer.peer_spoke = True
        data = self._tls_head + data
        if alerts.is_stun(data):
            msg = "a STUN request came to the TLS port"
            self._tls_turn_away(alerts.UNEXPECTED, "STUN_REQUEST", msg, alerts.NAMES[10])
        elif data[0] == HANDSHAKE_RECORD or not plain_http.may_be_http(data):
            self._tls_is_tls, self._tls_head, self._tls_first = True, b"", data[0]
            incoming.write(data)
        elif plain_http.is_complete(data):
            self._tls_answer(data)
        else:
            self._tls_head = data

    def _tls_answer(self, request: bytes) -> None:
        reception, answer = self._tls_reception, b""
        if reception is not None:
            port = None if self._tls_peer is None else local_address(self._tls_peer)[1]
            answer = plain_http.answer(request, mode=reception.plain_http, covers=reception.covers, port=port)
        self._tls_turn_away(answer, "HTTP_REQUEST", "a plain HTTP request came to the TLS port")

    def _tls_turn_away(self, last_words: bytes, code: str, msg: str, alert: str | None = None) -> NoReturn:
        error = ssl.SSLError(ssl.SSL_ERROR_SSL, msg)
        self._tls_tell_error(code, msg, alert)
        self._tls_part(last_words, error)
        raise error

    def _tls_fail(self, error: ssl.SSLError) -> None:
        last_words = self._tls_outgoing.read() if self._tls_outgoing is not None else b""
        last_words = last_words or alerts.alert_for_garbage(error, self._tls_first)
        self._tls_is_tls = False  # `_look` raises from now on
        self._tls_tell_error(*reason_of(error, self), alerts.alert_in(last_words, error))
        self._tls_part(last_words, error)

    def _tls_part(self, last_words: bytes, error: ssl.SSLError) -> None:
        """Send the last words. Raises SSLWantReadError where the loop has to do that."""
        if self._tls_peer is not None:
            if last_words:
                part(self._tls_peer.peer_loop, self._tls_peer, last_words)
            return
        self._tls_failure = error
        if last_words and self._tls_outgoing is not None:
            self._tls_outgoing.write(last_words)
            raise ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "last words to write") from error

    def tls_refusal(self) -> str | None:
        """Why a client whose handshake is done must not get in after all."""
        return None

    def _tls_refuse(self, why: str) -> None:
        if self._tls_outgoing is not None:
            self._tls_outgoing.read()  # a session ticket
        self._tls_tell_error("REFUSED", why, None)
        raise ssl.SSLError(ssl.SSL_ERROR_SSL, why)

    def _tls_tell_session(self, reception: Reception) -> None:
        peer = self._tls_peer
        if peer is not None:
            peer.peer_told = True
        if not reception.wants_sessions():
            return
        resumed = bool(self.session_reused)
        group = self.tls_group
        if group is None or resumed:  # TLS 1.2 resumes without a key exchange
            group = _openssl.negotiated_group(self)
        ip, port = (None, None) if peer is None else (peer.peer_ip, peer.peer_port)
        elapsed = time.perf_counter() - (self._tls_started if peer is None else peer.peer_started)
        reception.tell_session(session_fields(self, (ip, port), group=group, resumed=resumed, elapsed=elapsed))

    def tls_local_ip(self) -> str | None:
        """The address that the client has connected to, None where that is not known."""
        return None if self._tls_peer is None else local_address(self._tls_peer)[0]

    def _tls_tell_error(self, code: str, msg: str, alert: str | None) -> None:
        peer = self._tls_peer
        if peer is not None:
            peer.peer_told = True
        if self._tls_reception is not None:
            tell_error(self._tls_reception, peer, code, msg, alert=alert, sni=self.tls_server_name)


def tell_error(
    reception: Reception, peer: Peer | None, code: str, msg: str, *, alert: str | None = None, sni: str | None = None
) -> None:
    """Tell that a connection failed."""
    ip, port = (None, None) if peer is None else (peer.peer_ip, peer.peer_port)
    kind = ClientErrorEvent if peer is None or peer.peer_spoke else SilentClientEvent
    reception.tell(kind(ip=ip, port=port, code=code, msg=msg, alert=alert, sni=sni))


def reason_of(error: ssl.SSLError, connection: ssl.SSLObject | ssl.SSLSocket) -> tuple[str, str]:
    """A code and a sentence for what OpenSSL raised. A context may add to it, by `tls_explain`."""
    if getattr(connection, "tls_name_refused", False):
        name: str | None = getattr(connection, "tls_server_name", None)
        asked = (
            f"asked for a name that is not served: {name!r}"
            if name
            else "sent no host name, and there is no default certificate"
        )
        return "UNRECOGNIZED_NAME", f"the client {asked}"
    text = str(error.args[1]) if len(error.args) > 1 else str(error)
    words = _MESSAGE.fullmatch(text)
    msg = text if words is None else words[1]
    if isinstance(error, ssl.SSLCertVerificationError) and (
        explain := getattr(connection.context, "tls_explain", None)
    ):
        msg += explain(error.verify_code, verified_chain(connection))
    return error.reason or "UNKNOWN", msg
