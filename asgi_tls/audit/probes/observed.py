"""What the probes observed, before anybody judges it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from asgi_tls.audit.probes.groups import Groups
from asgi_tls.audit.probes.handshakes import Negotiated, Resumption, Trust
from asgi_tls.audit.probes.http import Answer, Plain
from asgi_tls.audit.probes.staple import Staple
from asgi_tls.audit.probes.target import Target
from asgi_tls.handshake.flight import Preference

if TYPE_CHECKING:
    from cryptography import x509

StapleState = Literal["stapled", "absent", "unknown"]


@dataclass(frozen=True, kw_only=True)
class ServedChain:
    """Certificates in the order they were sent, leaf first; of very many, the first. `sent` counts them all.

    `staple` is the OCSP response that came with them; `staple_state` is "unknown" if this Python cannot read it.
    `trust` is None if no handshake succeeded.
    """

    certificates: tuple[x509.Certificate, ...]
    sent: int
    staple: Staple | None
    staple_state: StapleState
    trust: Trust | None

    @property
    def leaf(self) -> x509.Certificate:
        return self.certificates[0]


@dataclass(frozen=True, kw_only=True)
class Unreadable:
    """A certificate that cannot be parsed, at its `position` in a chain, from 1. What follows it is not read.

    For the server's own certificate, `trust` says whether OpenSSL, which is less strict, accepts it with name and
    dates; None if no handshake succeeded.
    """

    position: int
    reason: str
    trust: Trust | None


@dataclass(frozen=True, kw_only=True)
class Version:
    """Whether a version is `offered`, and how the server answered its hello: "hello", the name of an alert, "closed",
    "reset", "timeout" or "garbage". `suites` are IANA's names in the order in which the server chose them.
    """

    offered: bool
    answer: str
    suites: tuple[str, ...] = ()
    preference: Preference | None = None


@dataclass(frozen=True, kw_only=True)
class Refusals:
    """How many hellos were refused; of these, how many without an alert, and how many got no answer in time."""

    refused: int = 0
    without_alert: int = 0
    unanswered: int = 0


@dataclass(frozen=True, kw_only=True)
class Hellos:
    """What the ServerHello of TLS 1.2 and earlier says; None if there was none to look at."""

    compression: bool = False
    secure_renegotiation: bool | None = None
    extended_master_secret: bool | None = None
    downgrade_marked: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Observed:
    """Everything about one server. `versions` and `resumption` are by the version's name. `own_ca` is True if the CAs
    to trust were given. `groups` are those of the newest version, `old_groups` those that only TLS 1.2 and earlier can
    use. `hybrid_tolerated` says whether a TLS 1.2 hello may list a group of TLS 1.3; None without TLS 1.2. `answer` is
    the response over HTTPS, None if it is not HTTP.
    """

    target: Target
    address: str
    at: datetime
    versions: dict[str, Version]
    own_ca: bool = False
    groups: Groups = field(default_factory=Groups)
    old_groups: tuple[str, ...] = ()
    hybrid_tolerated: bool | None = None
    dh_bits: int | None = None
    hellos: Hellos | None = None
    chains: tuple[ServedChain, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
    handshake: Negotiated | None = None
    resumption: dict[str, Resumption] = field(default_factory=dict)
    client_certificate: bool = False
    answer: Answer | None = None
    plain_tls: Plain | None = None
    plain_http: Plain | None = None
    refusals: Refusals = field(default_factory=Refusals)
    connections: int = 0
    seconds: float = 0.0

    def speaks(self, *versions: str) -> bool:
        """Whether the server accepts any of these."""
        return any(version in self.versions and self.versions[version].offered for version in versions)

    @property
    def group_names(self) -> tuple[str, ...]:
        """Of every version."""
        return (*self.groups.names, *self.old_groups)
