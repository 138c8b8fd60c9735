"""What is on disk, and what was good of it: the last good value of each source, whatever became of its files since.

Nothing here is shared: one thread reads, loads and keeps.
"""

from __future__ import annotations

import hashlib
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from asgi_tls.certificate import Certificate, CertificateSource, PEMDirectory
from asgi_tls.certificate.by_name import DEFAULT
from asgi_tls.certificate.keyfile import load_cert_chain
from asgi_tls.certificate.material import read_material
from asgi_tls.certificate.trust import ClientTrust, load_client_trust
from asgi_tls.context.policy import set_ciphers
from asgi_tls.context.server_context import check_group
from asgi_tls.errors import ASGITLSError, CertificateError
from asgi_tls.profile import TLSProfile
from asgi_tls.tickets import LoadedSecret, TicketSecret, load_secret, name_of, paths_of

T = TypeVar("T")

GRACE: Final = 1.0
"""Seconds that a bad pair may take to become a good one before anybody is told, and a removed one to come back."""


@dataclass(kw_only=True)
class Kept(Generic[T]):
    """A value that is loaded from files. `value` is what is in use, `candidate` what was read since.

    `error` is why the files that are there now cannot be used, and `failing_since` when they began to (monotonic).
    """

    name: str
    paths: Callable[[], Iterable[Path]]
    load: Callable[[], T]
    value: T | None = None
    candidate: T | None = None
    digest: str = ""
    error: ASGITLSError | None = None
    failing_since: float = 0.0
    gone_since: float | None = None
    reported: str | None = None

    def look(self) -> bool:
        """Whether the files are others than those of the last attempt, or that one failed."""
        return self.error is not None or digest_of(self.paths()) != self.digest

    def attempt(self) -> None:
        """Read the files into `candidate`, or say in `error` what is wrong with them. Raises nothing."""
        self.digest = digest_of(self.paths())  # first, so that a change during the load is seen later
        try:
            self.candidate = self.load()
        except ASGITLSError as error:
            self.refuse(error)
        except Exception as error:  # noqa: BLE001 -- a source of the user's own: it must not end the reloading
            # Its type alone: what it says may hold anything, a key too.
            problem = f"{self.name}: loading failed with {type(error).__name__}"
            found = CertificateError(problem, fix="Make the source raise a CertificateError that says why.")
            found.__cause__ = error
            self.refuse(found)

    def refuse(self, error: ASGITLSError) -> None:
        """Drop the candidate, and keep what is in use."""
        if self.error is None:
            self.failing_since = time.monotonic()
        self.error, self.candidate = error, None

    def accept(self) -> None:
        """Take the candidate into use."""
        if self.candidate is not None:
            self.value, self.candidate = self.candidate, None
            self.error = self.reported = None


@dataclass(frozen=True)
class _Entry:
    """A pair in the directory, known by its certificate's file."""

    certfile: str

    @property
    def is_default(self) -> bool:
        path = Path(self.certfile)
        return DEFAULT in {path.stem, path.parent.name}


@dataclass(kw_only=True)
class Inventory:
    """The certificates by name, the directory of pairs, the client trust and the ticket secret of one server.

    `vet` has the last word on each certificate that was loaded: it may raise, and the certificate is refused.
    """

    profile: TLSProfile
    sources: Mapping[str, tuple[CertificateSource, ...]]
    directory: PEMDirectory | None = None
    client_ca: Path | None = None
    client_crl: Path | None = None
    vet: Callable[[Certificate], None] | None = None
    ticket_secret: TicketSecret | None = field(default=None, repr=False)
    trust: Kept[ClientTrust] | None = field(default=None, init=False)
    secret: Kept[LoadedSecret] | None = field(default=None, init=False)
    listing: Kept[tuple[CertificateSource, ...]] | None = field(default=None, init=False)
    certificates: dict[int | _Entry, Kept[Certificate]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        if self.client_ca is not None:
            files = [path for path in (self.client_ca, self.client_crl) if path is not None]
            ca, crl = self.client_ca, self.client_crl
            self.trust = Kept(
                name=", ".join(map(str, files)), paths=lambda: files, load=lambda: load_client_trust(ca, crl)
            )
        if (secret := self.ticket_secret) is not None:
            self.secret = Kept(name=name_of(secret), paths=lambda: paths_of(secret), load=lambda: load_secret(secret))
        for sources in self.sources.values():
            for source in sources:
                self.certificates.setdefault(id(source), self._keep(source))
        if self.directory is not None:
            self.listing = Kept(name=str(self.directory), paths=lambda: (), load=self.directory.entries)

    def load(self, known: Mapping[str, Any] | None = None) -> None:
        """Everything, for the first time. What cannot be used now is taken from `known`, where it is there by name.

        Raises what is wrong with the first that cannot be used and is not known.
        """
        known = known or {}
        if self.listing is not None:
            self.listing.value = known.get(self.listing.name)
        self.list_directory()
        for kept in self.all:
            if kept is not self.listing:
                kept.value = known.get(kept.name)
                kept.attempt()
        if known:
            self.check_candidates()
        for kept in self.all:
            kept.accept()
            if kept.value is None and kept.error is not None:
                raise kept.error

    @property
    def good(self) -> dict[str, Any]:
        """What `load` takes as known."""
        return {kept.name: kept.value for kept in self.all if kept.value is not None}

    @property
    def all(self) -> list[Kept[Any]]:
        """Everything that has files."""
        listing = [] if self.listing is None else [self.listing]
        trust = [] if self.trust is None else [self.trust]
        secret = [] if self.secret is None else [self.secret]
        return [*listing, *trust, *secret, *self.certificates.values()]

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every file that matters now, and the directory of pairs."""
        found = {path: None for kept in self.all for path in kept.paths()}
        if self.directory is not None:
            found[Path(self.directory.path)] = None
        return tuple(found)

    def list_directory(self) -> bool:
        """Take the pairs that came, and drop those that have been gone for a while; whether any were dropped."""
        if self.listing is None:
            return False
        self.listing.attempt()
        self.listing.accept()
        entries = {_Entry(str(source.paths[0])): source for source in self.listing.value or ()}
        for key, source in entries.items():
            kept = self.certificates.setdefault(key, self._keep(source))
            kept.gone_since = None
            if kept.name != str(source):  # its key has moved: the same entry all the same
                kept.name, kept.paths, kept.load = str(source), _paths_of(source), self._loader(source)
        dropped = [
            key for key, kept in self.certificates.items() if isinstance(key, _Entry) and _is_gone(kept, key in entries)
        ]
        for key in dropped:
            del self.certificates[key]
        return bool(dropped)

    def by_name(self, *, candidates: bool = False) -> dict[str, tuple[Certificate, ...]]:
        """The certificates by host name: those of the mapping, then for other names those of the directory."""

        def of(kept: Kept[Certificate]) -> Certificate | None:
            return (kept.candidate if candidates else None) or kept.value

        names: dict[str, tuple[Certificate, ...]] = {}
        for name, sources in self.sources.items():
            found = (of(self.certificates[id(source)]) for source in sources)
            names[name] = tuple(certificate for certificate in found if certificate is not None)
        listed: dict[str, dict[str, Certificate]] = {}
        for key, kept in self.certificates.items():
            certificate = of(kept)
            if certificate is None or not isinstance(key, _Entry):
                continue
            wanted = [*certificate.dns_names, *([DEFAULT] if key.is_default else [])]
            for name in wanted:
                if name not in self.sources:
                    _newest(listed.setdefault(name, {}), certificate)
        return names | {name: tuple(kinds.values()) for name, kinds in listed.items()}

    def check_candidates(self) -> None:
        """Refuse each candidate that its name cannot be served with."""
        for name, group in self.by_name(candidates=True).items():
            try:
                check_group(name, group)
            except ASGITLSError as error:
                for kept in self.certificates.values():
                    if kept.candidate is not None and any(kept.candidate is one for one in group):
                        kept.refuse(error)

    def _keep(self, source: CertificateSource) -> Kept[Certificate]:
        return Kept(name=str(source), paths=_paths_of(source), load=self._loader(source))

    def _loader(self, source: CertificateSource) -> Callable[[], Certificate]:
        def load() -> Certificate:
            certificate = source.load()
            # Alone and first: if OpenSSL refuses one of many, it is known which.
            scratch = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            set_ciphers(scratch, self.profile)
            load_cert_chain(scratch, certificate)
            if self.vet is not None:
                self.vet(certificate)
            return certificate

        return load


def digest_of(paths: Iterable[Path]) -> str:
    """Of the contents: modification times lie on network file systems, and names stay the same behind a link."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            data = read_material(path, "file").data
        except CertificateError as error:
            data = error.code.encode("ascii")
        digest.update(hashlib.sha256(data).digest())
    return digest.hexdigest()


def _paths_of(source: CertificateSource) -> Callable[[], Iterable[Path]]:
    return lambda: source.paths


def _is_gone(kept: Kept[Any], listed: bool) -> bool:
    if listed:
        return False
    now = time.monotonic()
    kept.gone_since = kept.gone_since or now
    return now - kept.gone_since >= GRACE


def _newest(kinds: dict[str, Certificate], certificate: Certificate) -> None:
    """Two pairs for one name and with one kind of key: the one that lasts longer."""
    kind = certificate.key_type.split()[0]
    other = kinds.get(kind)
    if other is None or certificate.not_after > other.not_after:
        kinds[kind] = certificate
