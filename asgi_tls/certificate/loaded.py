"""A certificate that passed every check, and what a source of one must be able to do."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol, TypeGuard, runtime_checkable

from asgi_tls.errors import ConfigurationError
from asgi_tls.events import Notice
from asgi_tls.hostnames import checked_name, covers, names_for, parse_ip

Purpose = Literal["server", "client"]
"""Which end of a connection shows the certificate."""


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """A certificate with its chain and key, all checks passed. Its repr holds no secret; its pickle does."""

    chain_pem: bytes = field(repr=False)  # leaf first, then what the file held after it
    key_pem: bytes = field(repr=False)  # unencrypted PKCS#8
    dns_names: tuple[str, ...]  # lower case, A-labels, from subjectAltName alone
    ip_addresses: tuple[str, ...]
    subject: str  # RFC 4514
    issuer: str
    serial_number: str  # hexadecimal
    not_before: datetime  # aware, UTC
    not_after: datetime
    key_type: str  # 'ECDSA P-256', 'RSA 2048', 'Ed25519'
    fingerprint_sha256: str  # lower-case hexadecimal, of the leaf's DER form
    source: str
    warnings: tuple[Notice, ...] = ()
    ocsp_url: str | None = None
    must_staple: bool = False

    @property
    def subject_alt_names(self) -> tuple[str, ...]:
        """DNS names, then IP addresses."""
        return self.dns_names + self.ip_addresses

    @cached_property
    def hosts(self) -> frozenset[str]:
        """What clients accept it for: canonical host names, wildcards and addresses."""
        return names_for(self.dns_names, self.ip_addresses)

    @property
    def kind(self) -> str:
        """The kind of its key, of which a name takes one certificate each: 'ECDSA', 'RSA', 'Ed25519'."""
        return self.key_type.split()[0]

    @property
    def stands_in(self) -> bool:
        """Whether it is served until ACME has issued the one that is wanted."""
        return any(each.code == "acme-placeholder" for each in self.warnings)

    @property
    def leaf_der(self) -> bytes:
        """The server's own certificate, in DER."""
        return base64.b64decode(self.chain_pem.split(b"-----")[2])

    def covers(self, name: str) -> bool:
        """Whether a client that asks for `name` accepts this certificate (RFC 9525 section 6.3).

        `name` is a DNS name, an IP address, or a wildcard (`*.example.org`), which only the same wildcard covers.
        """
        try:
            host = parse_ip(name) or checked_name(name)
        except ConfigurationError:
            return False
        return covers(self.hosts, host)

    def lifetime_left(self, now: datetime) -> float:
        """The share of the lifetime that is left: 1.0 at notBefore, 0.0 at notAfter. `now` is aware."""
        return lifetime_left(self.not_before, self.not_after, now)


def lifetime_left(not_before: datetime, not_after: datetime, now: datetime) -> float:
    """The share of the lifetime that is left at `now`, between 1.0 and 0.0. All three are aware."""
    whole = (not_after - not_before).total_seconds()
    left = (not_after - now).total_seconds()
    return min(1.0, max(0.0, left / whole)) if whole > 0 else 0.0


@runtime_checkable
class CertificateSource(Protocol):
    """Where key material comes from. Its text describes it for logs and holds no secret."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files to watch; none for material in memory."""

    def load(self, purpose: Purpose = "server") -> Certificate:
        """Read, check, return. A client's certificate needs no host name. Raises CertificateError."""


def is_source(value: object) -> TypeGuard[CertificateSource]:
    """Whether it is a certificate source. A class of sources (`PEMFiles` without its files) has their methods too."""
    return isinstance(value, CertificateSource) and not isinstance(value, type)


class OrderedSource:
    """A source whose certificate the server itself orders (`ACME`), which is prepared before the server listens."""
