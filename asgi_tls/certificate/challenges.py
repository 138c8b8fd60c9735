"""What this process answers to an ACME CA that validates a name. Whoever orders certificates writes it; handshakes, the
plain port and the middleware read it. Pure: no key is parsed here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{1,512}")
"""RFC 8555 section 8.3: base64url without padding. No dot, no slash, nothing that could leave a directory."""


@dataclass(frozen=True)
class ChallengePair:
    """The self-signed certificate of a tls-alpn-01 challenge (RFC 8737 section 3) and its key, PEM."""

    cert_pem: bytes
    key_pem: bytes = field(repr=False)


class Challenges:
    """All that is pending in this process. Each reader looks at one attribute, which is swapped in one assignment."""

    def __init__(self) -> None:
        self._pairs: Mapping[str, ChallengePair] = MappingProxyType({})
        self._thumbprint: Callable[[], str | None] | None = None
        self.is_served = False  # set once a server of this process accepts connections
        # Whether a tls-alpn-01 challenge is pending: only then do handshakes look at ClientHellos. An attribute, since
        # each of them asks.
        self.is_waiting = False

    def tls_alpn(self, name: str) -> ChallengePair | None:
        """The pair for a canonical host name or IP address."""
        return self._pairs.get(name)

    @property
    def answers_http(self) -> bool:
        """Whether http-01 is answered in this process."""
        return self._thumbprint is not None

    def http(self, token: str) -> str | None:
        """The key authorization for a token of http-01 (RFC 8555 section 8.1); None without an ACME account.

        It is the same for whoever asks, and tells nothing but the public key of the account.
        """
        if self._thumbprint is None or TOKEN.fullmatch(token) is None:
            return None
        thumbprint = self._thumbprint()
        return None if thumbprint is None else f"{token}.{thumbprint}"

    def use_tls_alpn(self, pairs: Mapping[str, ChallengePair]) -> None:
        """Answer these from now on, by canonical name, and no others."""
        self._pairs = MappingProxyType(dict(pairs))
        self.is_waiting = bool(pairs)

    def answer_http(self, thumbprint: Callable[[], str | None]) -> None:
        """Answer http-01 by this account. It is called for each request, and must be quick."""
        self._thumbprint = thumbprint


challenges: Final = Challenges()
"""Those of this process."""
