"""Complete handshakes, by Python's `ssl`: what TLS 1.3 encrypts, trust, and resumption.

The contexts here verify nothing unless they say so, and accept the weakest suites: an audit must connect where no
client should. They stay in this module.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from asgi_tls import _openssl
from asgi_tls.audit.probes.caller import Caller, Stream, TCPStream
from asgi_tls.handshake.hello import TLS13

_T = TypeVar("_T")

_WEAKEST: Final = "ALL:COMPLEMENTOFALL:@SECLEVEL=0"
_OP_LEGACY_SERVER_CONNECT: Final = 0x4  # servers without RFC 5746
_NO_CHECK_TIME: Final = 0x200000  # X509_V_FLAG_NO_CHECK_TIME: expiry is judged by the dates themselves

# openssl/x509_vfy.h: DEPTH_ZERO_SELF_SIGNED_CERT and INVALID_PURPOSE.
_SELF_SIGNED: Final = 18
_PURPOSE: Final = 26

_PATIENCE: Final = 2.0  # seconds to wait for an alert that may not come


@dataclass(frozen=True, kw_only=True)
class Negotiated:
    """What a current client gets."""

    protocol: str
    cipher: str
    group: str | None
    alpn: str | None


@dataclass(frozen=True, kw_only=True)
class Handshake:
    """What one handshake showed. `chain` is in DER as sent; None if this Python cannot read it."""

    negotiated: Negotiated
    chain: tuple[bytes, ...] | None
    staple: bytes | None
    staple_known: bool


@dataclass(frozen=True, kw_only=True)
class Trust:
    """Whether a client that verifies would trust the chain; `code` and `reason` are OpenSSL's (X509_V_ERR_…)."""

    trusted: bool
    code: int = 0
    reason: str = ""

    @property
    def self_signed(self) -> bool:
        return self.code == _SELF_SIGNED


def context_for(*, only: int | None = None, alpn: Sequence[str] = ("http/1.1",)) -> ssl.SSLContext:
    """A context that verifies nothing. `only` is the one version to use."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _weaken(context)
    if only == TLS13:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    elif only is not None:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(list(alpn))
    return context


def _weaken(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.set_ciphers(_WEAKEST)
    context.options |= _OP_LEGACY_SERVER_CONNECT | getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)


class TLSStream:
    """A stream over TLS. OpenSSL sees only what has arrived, so that no server can keep it busy without end."""

    def __init__(self, stream: TCPStream, context: ssl.SSLContext, host: str, session: ssl.SSLSession | None) -> None:
        self._stream = stream
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host, session=session)

    def within(self, seconds: float) -> None:
        self._stream.within(seconds)

    def shake_hands(self) -> None:
        self._drive(self.tls.do_handshake)

    def send(self, data: bytes) -> None:
        self._drive(lambda: self.tls.write(data))

    def receive(self) -> bytes:
        try:
            return self._drive(self.tls.read)
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    def _drive(self, step: Callable[[], _T]) -> _T:
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                self._flush()
                if data := self._stream.receive():
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()
            except ssl.SSLError:
                with contextlib.suppress(OSError):
                    self._flush()  # the alert
                raise
            else:
                self._flush()
                return result

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._stream.send(self._outgoing.read())


@contextmanager
def connected(caller: Caller, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> Iterator[TLSStream]:
    """A connection after its handshake. Raises OSError, of which ssl.SSLError is one."""
    try:
        with caller.call() as stream:
            secure = TLSStream(stream, context, caller.target.host, session)
            _openssl.request_staple(secure.tls)
            secure.shake_hands()
            yield secure
    except ssl.SSLError:
        raise
    except ValueError as error:  # what the server sent is beyond Python: an ALPN name, a session of many names
        raise ssl.SSLError(str(error)) from error


def shake_hands(caller: Caller, *, alpn: Sequence[str]) -> Handshake:
    """The best that both sides can do. Raises OSError."""
    with connected(caller, context_for(alpn=alpn)) as secure:
        tls = secure.tls
        cipher = tls.cipher()
        return Handshake(
            negotiated=Negotiated(
                protocol=tls.version() or "",
                cipher="" if cipher is None else cipher[0],
                group=_openssl.negotiated_group(tls),
                alpn=tls.selected_alpn_protocol(),
            ),
            chain=_chain_of(tls),
            staple=_openssl.stapled_response(tls),
            staple_known=_openssl.reachable(),
        )


def verify_chain(caller: Caller, authorities: str | None, kind: str | None = None) -> Trust | None:
    """Whether the chain leads to one of the CAs (PEM), or to one of the system; None if no handshake succeeded.

    Names, dates and usages are left to the judges. `kind` is RSA or ECDSA, for servers with a certificate of each.
    """
    context = _verifying(authorities)
    context.check_hostname = False
    context.verify_flags |= _NO_CHECK_TIME
    if kind is not None:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(f"a{kind}:@SECLEVEL=0")
    trust = _trust(caller, context)
    return Trust(trusted=True) if trust is not None and trust.code == _PURPOSE else trust


def verify(caller: Caller, authorities: str | None) -> Trust | None:
    """Whether OpenSSL accepts the certificate, with name, dates and usages; None if no handshake succeeded."""
    return _trust(caller, _verifying(authorities))


def _verifying(authorities: str | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _weaken(context)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if authorities is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        context.load_verify_locations(cadata=authorities)
    return context


def _trust(caller: Caller, context: ssl.SSLContext) -> Trust | None:
    try:
        with connected(caller, context):
            return Trust(trusted=True)
    except ssl.SSLCertVerificationError as error:
        return Trust(trusted=False, code=error.verify_code, reason=error.verify_message or "not trusted")
    except OSError:
        return None


def wants_certificate(caller: Caller) -> bool:
    """Whether a TLS 1.3 server closes the connection because it gets no client certificate (RFC 8446 section 4.4.2.4).

    The alert comes after the handshake, and is lost when data of ours crosses it: so this listens, and says nothing.
    """
    try:
        with connected(caller, context_for()) as secure:
            secure.within(min(caller.target.timeout, _PATIENCE))
            secure.receive()
    except ssl.SSLError as error:
        return "CERTIFICATE_REQUIRED" in (error.reason or "")
    except OSError:
        return False
    return False


@dataclass(frozen=True, kw_only=True)
class Resumption:
    """How many of `tried` connections were resumed."""

    resumed: int
    tried: int


def resumption(
    caller: Caller, version: int, exchange: Callable[[Stream], object], *, tries: int = 2
) -> Resumption | None:
    """Connect again with the session of a first connection. None if no handshake succeeded.

    `exchange` makes the server talk: in TLS 1.3 the ticket comes after the handshake.
    """
    context = context_for(only=version)
    try:
        with connected(caller, context) as secure:
            exchange(secure)
            session = secure.tls.session
    except OSError:
        return None
    resumed = 0
    for _ in range(tries if _can_resume(session, version) else 0):
        try:
            with connected(caller, context, session) as secure:
                resumed += bool(secure.tls.session_reused)
                exchange(secure)
                session = secure.tls.session or session  # RFC 8446 appendix C.4: a ticket is used once
        except OSError:
            break
    return Resumption(resumed=resumed, tried=tries)


def _can_resume(session: ssl.SSLSession | None, version: int) -> bool:
    if session is None:
        return False
    return session.has_ticket or (version != TLS13 and bool(session.id))


def _chain_of(tls: ssl.SSLObject) -> tuple[bytes, ...] | None:
    if hasattr(tls, "get_unverified_chain"):  # Python 3.13
        return tuple(tls.get_unverified_chain())
    inner: Any = getattr(tls, "_sslobj", None)
    if not hasattr(inner, "get_unverified_chain"):
        return None
    # Python 3.11 and 3.12 have the method on the inner object only, which gives certificates that export themselves, or
    # None for an anonymous suite.
    chain = inner.get_unverified_chain() or ()
    return tuple(ssl.PEM_cert_to_DER_cert(certificate.public_bytes()) for certificate in chain)
