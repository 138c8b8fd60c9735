"""Whole handshakes, by Python's `ssl`: what a TLS 1.3 server shows only under encryption, trust, and resumption.

The contexts here verify nothing unless they say so, and take the weakest suites: an audit must get in where no client
should. They stay in this room.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from asgi_tls import _openssl
from asgi_tls.audit.probes.hello import TLS13
from asgi_tls.audit.probes.target import Caller, hang_up

_WEAKEST: Final = "ALL:COMPLEMENTOFALL:@SECLEVEL=0"
_OP_LEGACY_SERVER_CONNECT: Final = 0x4  # servers without RFC 5746
_NO_CHECK_TIME: Final = 0x200000  # X509_V_FLAG_NO_CHECK_TIME: expiry is judged by the dates themselves

# X509_V_ERR_… of a chain that ends nowhere known (openssl/x509_vfy.h).
_SELF_SIGNED: Final = 18
_PURPOSE: Final = 26

_PATIENCE: Final = 2.0  # seconds for an alert that may not come


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
    """Whether a client that verifies would trust the chain, dates and names aside; `reason` is OpenSSL's word."""

    trusted: bool
    self_signed: bool = False
    reason: str = ""


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


@contextmanager
def connected(
    caller: Caller, context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> Iterator[ssl.SSLSocket]:
    """A connection after its handshake. Raises OSError, of which ssl.SSLError is one."""
    target = caller.target
    sock = caller.call()
    try:
        secure = context.wrap_socket(sock, server_hostname=target.host, do_handshake_on_connect=False, session=session)
    except BaseException:
        sock.close()
        raise
    try:
        _openssl.request_staple(secure)
        secure.settimeout(target.timeout)
        secure.do_handshake()
        yield secure
    finally:
        hang_up(secure)


def shake_hands(caller: Caller, *, alpn: Sequence[str]) -> Handshake:
    """The best that both sides can do. Raises OSError."""
    with connected(caller, context_for(alpn=alpn)) as secure:
        cipher = secure.cipher()
        return Handshake(
            negotiated=Negotiated(
                protocol=secure.version() or "",
                cipher="" if cipher is None else cipher[0],
                group=_openssl.negotiated_group(secure),
                alpn=secure.selected_alpn_protocol(),
            ),
            chain=_chain_of(secure),
            staple=_openssl.stapled_response(secure),
            staple_known=_openssl.can_read_staples(),
        )


def verify(caller: Caller, authorities: str | None, kind: str | None = None) -> Trust | None:
    """Whether the chain leads to one of the CAs (PEM), or to one of the system; None when no handshake came about.

    `kind` is RSA or ECDSA, for servers with a certificate of each.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # the name is judged by itself
    _weaken(context)
    if kind is not None:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(f"a{kind}:@SECLEVEL=0")
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
    if authorities is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        context.load_verify_locations(cadata=authorities)
    try:
        with connected(caller, context):
            return Trust(trusted=True)
    except ssl.SSLCertVerificationError as error:
        if error.verify_code == _PURPOSE:  # a finding of its own
            return Trust(trusted=True)
        return Trust(
            trusted=False, self_signed=error.verify_code == _SELF_SIGNED, reason=error.verify_message or "not trusted"
        )
    except OSError:
        return None


def wants_certificate(caller: Caller) -> bool:
    """Whether a TLS 1.3 server ends the connection for want of a client certificate (RFC 8446 section 4.4.2.4).

    The alert comes after the handshake, and is lost when data of ours crosses it: so this listens, and says nothing.
    """
    try:
        with connected(caller, context_for()) as secure:
            secure.settimeout(min(caller.target.timeout, _PATIENCE))
            secure.recv(1)
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
    caller: Caller, version: int, exchange: Callable[[ssl.SSLSocket], object], *, tries: int = 2
) -> Resumption | None:
    """Come back with the session of a first connection. None when no handshake came about.

    `exchange` makes the server talk: in TLS 1.3 the ticket comes after the handshake.
    """
    context = context_for(only=version)
    try:
        with connected(caller, context) as secure:
            exchange(secure)
            session = secure.session
    except OSError:
        return None
    resumed = 0
    for _ in range(tries if _can_resume(session, version) else 0):
        try:
            with connected(caller, context, session) as secure:
                resumed += bool(secure.session_reused)
                exchange(secure)
                session = secure.session or session  # RFC 8446 appendix C.4: a ticket is used once
        except OSError:
            break
    return Resumption(resumed=resumed, tried=tries)


def _can_resume(session: ssl.SSLSession | None, version: int) -> bool:
    if session is None:
        return False
    return session.has_ticket or (version != TLS13 and bool(session.id))


def _chain_of(secure: ssl.SSLSocket) -> tuple[bytes, ...] | None:
    if hasattr(secure, "get_unverified_chain"):  # Python 3.13
        return tuple(secure.get_unverified_chain())
    inner: Any = getattr(secure, "_sslobj", None)
    if not hasattr(inner, "get_unverified_chain"):
        return None
    # Python 3.10 to 3.12 have the method on the inner object only, which gives certificates that export themselves.
    return tuple(ssl.PEM_cert_to_DER_cert(certificate.public_bytes()) for certificate in inner.get_unverified_chain())
