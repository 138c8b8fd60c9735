"""What stands behind the live context: the contexts that connections are handed over to, and the trust they carry."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from asgi_tls.handshake import TLSObject


@dataclass(eq=False)
class Trust:
    """The CAs and CRLs that clients are verified with, PEM text. It is `over` when others have taken their place."""

    client_ca: str | None = None
    client_crl: str | None = None
    over: bool = False


class CertifiedContext(ssl.SSLContext):
    """A context that remembers its trust and, where it has one certificate only, its leaf in DER."""

    leaf: bytes | None = None
    trust: Trust | None = None


class TrustedObject(TLSObject):
    """Refuses a client whose handshake began under a trust that is over by now.

    OpenSSL would give it a session ticket under the new keys, and with that it could come back for ever. Such a ticket
    has been written when the handshake ends, to the outgoing BIO alone: asyncio and uvloop drop what is there when an
    exception ends the handshake.
    """

    def do_handshake(self) -> None:
        super().do_handshake()
        trust = getattr(self.context, "trust", None)
        if trust is not None and trust.over and self.getpeercert(binary_form=True) is not None:
            raise ssl.SSLError(1, "the CAs of clients have changed during this handshake")
