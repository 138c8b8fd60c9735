"""The CA that an order goes to, what is ordered, and what is issued. Light: nothing of a CA's protocol is imported."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

from asgi_tls.certificate.password import first_line
from asgi_tls.events import Notice

ChallengeType = Literal["http-01", "tls-alpn-01", "dns-01"]
KeyType = Literal["ecdsa", "rsa"]

DIRECTORIES: Final = MappingProxyType(
    {
        # Each CA's own documentation of its ACME service.
        "letsencrypt": "https://acme-v02.api.letsencrypt.org/directory",
        "letsencrypt-staging": "https://acme-staging-v02.api.letsencrypt.org/directory",
        "zerossl": "https://acme.zerossl.com/v2/DV90",
        "google": "https://dv.acme-v02.api.pki.goog/directory",
    }
)
"""The directories that have a name. Two of them want an external account: zerossl and google."""


@dataclass(frozen=True)
class ExternalAccount:
    """An account with the CA outside of ACME (RFC 8555 section 7.3.4). `hmac` is a secret, in base64url.

    With a `file`, the secret is its first line, read for each registration: no copy of this object has it.
    """

    kid: str
    hmac: str = field(default="", repr=False)
    file: Path | None = None

    def secret(self) -> str:
        """The HMAC key. Raises CertificateError for a file that cannot be read or is empty."""
        if self.file is None:
            return self.hmac
        return first_line(self.file)[0].decode("utf-8", "replace").strip()

    def warnings(self) -> tuple[Notice, ...]:
        """One where others can read the file. Raises the same."""
        return () if self.file is None else first_line(self.file)[1]


@dataclass(frozen=True)
class CA:
    """One CA: `name` is for people, `url` is its directory, and `contact` has e-mail addresses.

    `ca_file`, if any, is all that its HTTPS port is trusted by.
    """

    name: str
    url: str
    ca_file: Path | None = None
    contact: tuple[str, ...] = ()
    external_account: ExternalAccount | None = None


@dataclass(frozen=True)
class OrderRequest:
    """What to order. `names` are canonical. `replaces` is the certificate ID of the certificate that it replaces."""

    names: tuple[str, ...]
    challenge: ChallengeType
    profile: str | None = None
    key: KeyType = "ecdsa"
    replaces: str | None = None


@dataclass(frozen=True)
class Issued:
    """A certificate. `pem` has the chain, the leaf first, and its new private key.

    `notes` are sentences about what did not matter for the order, such as a DNS record that could not be removed.
    """

    pem: bytes = field(repr=False)
    account_url: str
    certificate_id: str | None
    not_before: datetime
    not_after: datetime
    notes: tuple[str, ...] = ()
