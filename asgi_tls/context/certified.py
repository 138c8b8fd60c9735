"""What stands behind the live context: the contexts that connections are handed over to, and the trust they carry."""

from __future__ import annotations

import contextlib
import functools
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from asgi_tls.certificate.trust import issuer_without_list, lists_in
from asgi_tls.handshake.blocking import TLSSocket
from asgi_tls.handshake.ssl_object import TLSObject

_NO_RECORD: Final = b"\x17\x03\x03\x00\x01\x00"
_CHANGED: Final = "the CAs of clients have changed since this session or handshake began"
_NO_CRL: Final = 3  # X509_V_ERR_UNABLE_TO_GET_CRL
_CRL_EXPIRED: Final = 12  # X509_V_ERR_CRL_HAS_EXPIRED


@dataclass(eq=False)
class Trust:
    """The CAs and CRLs that clients are verified with, PEM text. It is `over` once others have replaced them.

    `forget` empties the server's session cache. Without libssl nothing does: then `since` is when this trust replaced
    another, in seconds since 1970, and earlier sessions are recognized by their time.
    """

    client_ca: str | None = None
    client_crl: str | None = None
    over: bool = False
    since: float | None = None
    forget: Callable[[], None] | None = None

    @functools.cached_property
    def _lists(self) -> dict[bytes, datetime | None]:
        return lists_in(self.client_crl or "")

    def explain(self, verify_code: int, chain: Sequence[bytes]) -> str:
        """More on why OpenSSL refused a client's chain (DER, leaf first): which CA's revocation list it lacks."""
        if verify_code not in {_NO_CRL, _CRL_EXPIRED}:
            return ""
        name = issuer_without_list(chain, self._lists, datetime.now(UTC))
        return "" if name is None else f" (issuer {name})"


class CertifiedContext(ssl.SSLContext):
    """A context that remembers its trust and, where it has one certificate only, its leaf in DER.

    `tls_stapling` is what libssl calls for an OCSP response: it has to live as long as the context.
    """

    tls_leaf: bytes | None = None
    tls_trust: Trust | None = None
    tls_stapling: object = None

    def tls_explain(self, verify_code: int, chain: Sequence[bytes]) -> str:
        """What to add to OpenSSL's reason for refusing a client."""
        return "" if self.tls_trust is None else self.tls_trust.explain(verify_code, chain)


class TrustedObject(TLSObject):
    """Refuses a client whose handshake, or whose session, began under a trust that has been replaced since.

    By then OpenSSL has made a session ticket for it with the new keys, by which it could resume again and again. The
    ticket is in the outgoing BIO, and is dropped there. So is the session in the cache.
    """

    def tls_refusal(self) -> str | None:
        """The reason, None where its trust still applies."""
        if (trust := _replaced(self)) is None:
            return None
        if trust.forget is not None:
            trust.forget()
        elif self._tls_incoming is not None:
            # OpenSSL drops a session from its cache with the alert for a record that it cannot decrypt. From 3.5 on it
            # does not at the end of the connection: the client would be refused with its session again and again.
            self._tls_incoming.write(_NO_RECORD)
            with contextlib.suppress(ssl.SSLError):
                self._sslobj.read(1)  # type: ignore[attr-defined]
        return _CHANGED


class TrustedSocket(TLSSocket):
    """Likewise on a blocking socket. There are no tickets, and with libssl no cache: see `without_sessions`."""

    def tls_refusal(self) -> str | None:
        """The reason, None where its trust still applies."""
        return None if _replaced(self) is None else _CHANGED


def _replaced(connection: ssl.SSLObject | ssl.SSLSocket) -> Trust | None:
    """The trust by which this client came in, if it is not the one that applies now or was when its session began."""
    trust: Trust | None = getattr(connection.context, "tls_trust", None)
    if trust is None or not (trust.over or _resumes_from_before(connection, trust)):
        return None
    return None if connection.getpeercert(binary_form=True) is None else trust


def _resumes_from_before(connection: ssl.SSLObject | ssl.SSLSocket, trust: Trust) -> bool:
    if trust.since is None or not connection.session_reused or connection.session is None:
        return False
    return connection.session.time <= trust.since
