"""What the probes saw, before anybody judges it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from cryptography import x509

    from asgi_tls.audit.groups import Groups
    from asgi_tls.audit.handshakes import Handshake, Resumption, Trust
    from asgi_tls.audit.http import Answer
    from asgi_tls.audit.plain import Plain
    from asgi_tls.audit.staple import Staple
    from asgi_tls.audit.suites import Suites
    from asgi_tls.audit.target import Target

StapleState = Literal["stapled", "absent", "unknown"]


@dataclass(frozen=True, kw_only=True)
class ServedChain:
    """Certificates in the order they were sent, leaf first. `staple` is the OCSP response that came with them.

    `staple_state` is "unknown" where this Python cannot read it. `trust` is None where no handshake could tell.
    """

    certificates: tuple[x509.Certificate, ...]
    staple: Staple | None
    staple_state: StapleState
    trust: Trust | None

    @property
    def leaf(self) -> x509.Certificate:
        return self.certificates[0]


@dataclass(frozen=True, kw_only=True)
class Hellos:
    """What the ServerHello of TLS 1.2 and before says; None where there was none to look at."""

    compression: bool = False
    secure_renegotiation: bool | None = None
    extended_master_secret: bool | None = None
    downgrade_marked: bool | None = None


@dataclass(kw_only=True)
class Observed:
    """Everything about one server. `versions` maps the names of all versions to whether the server speaks them.
    `answers` maps them to how it answered: "hello", the name of an alert, "closed", "reset", "timeout", "garbage".
    `own_ca` tells that the CAs to trust were given.

    `groups` are those of the newest version, `old_groups` those that only TLS 1.2 and before can use. `silent` counts
    refusals without an alert among `refused`, `unanswered` hellos that got no answer in time. `answer` is what HTTPS
    said, None when it speaks no HTTP.
    """

    target: Target
    address: str
    at: datetime
    versions: dict[str, bool]
    answers: dict[str, str] = field(default_factory=dict)
    own_ca: bool = False
    suites: dict[str, Suites] = field(default_factory=dict)
    groups: Groups | None = None
    old_groups: tuple[str, ...] = ()
    dh_bits: int | None = None
    hellos: Hellos | None = None
    chains: tuple[ServedChain, ...] = ()
    unreadable_certificate: bool = False
    handshake: Handshake | None = None
    resumption: tuple[Resumption, ...] = ()
    client_certificate: bool = False
    answer: Answer | None = None
    http_over_tls: bool | None = None
    plain_tls: Plain | None = None
    plain_http: Plain | None = None
    refused: int = 0
    silent: int = 0
    unanswered: int = 0
    connections: int = 0
    seconds: float = 0.0

    def speaks(self, *versions: str) -> bool:
        """Whether it speaks any of these."""
        return any(self.versions.get(version, False) for version in versions)
