"""What stands behind the live context: the contexts that connections are handed over to, and the trust they carry."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from asgi_tls.handshake.ssl_object import TLSObject


@dataclass(eq=False)
class Trust:
    """The CAs and CRLs that clients are verified with, PEM text. It is `over` when others have taken their place."""

    client_ca: str | None = None
    client_crl: str | None = None
    over: bool = False


class CertifiedContext(ssl.SSLContext):
    """A context that remembers its trust and, where it has one certificate only, its leaf in DER.

    `stapling` is what libssl calls for an OCSP response: it has to live as long as the context.
    """

    leaf: bytes | None = None
    trust: Trust | None = None
    stapling: object = None


class TrustedObject(TLSObject):
    """Refuses a client whose handshake began under a trust that is over by now.

    OpenSSL has written a session ticket under the new keys for it by then, with which it could come back for ever. It
    lies in the outgoing BIO, and is dropped there.
    """

    def refusal(self) -> str | None:
        """Why, None where its trust still holds."""
        trust = getattr(self.context, "trust", None)
        if trust is not None and trust.over and self.getpeercert(binary_form=True) is not None:
            return "the CAs of clients have changed during this handshake"
        return None
