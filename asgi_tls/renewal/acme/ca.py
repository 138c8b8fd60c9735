"""The CA that an order goes to."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from asgi_tls.certificate.password import first_line

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
