"""What a server takes from files: the last good value of each source, whatever became of its files since.

A look at the files goes in steps: `changed` returns the items to load, `attempt` loads them, `offer` puts together what
would be served, and `commit` records that it is served. Nothing here is shared: one thread at a time may call it.
"""

from __future__ import annotations

import math
import ssl
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Generic, TypeAlias, TypeVar

from asgi_tls.certificate import Certificate, CertificateSource, PEMDirectory
from asgi_tls.certificate.directory import Pair
from asgi_tls.certificate.keyfile import load_cert_chain, load_crls
from asgi_tls.certificate.material import of_source
from asgi_tls.certificate.sources import OneOfSeveral
from asgi_tls.certificate.trust import ClientTrust, load_client_trust
from asgi_tls.context.policy import set_ciphers
from asgi_tls.context.server_context import check_group
from asgi_tls.errors import ASGITLSError, ConfigurationError, some
from asgi_tls.events import Notice
from asgi_tls.profile import TLSProfile
from asgi_tls.renewal.names import Key, Names
from asgi_tls.renewal.stamps import NO_STAMP, Stamp, digest_of, is_closed, stamp_of, status_of
from asgi_tls.renewal.state import GRACE, Bad, Good, State, is_due, is_passing, is_unreported, refused, reported, took
from asgi_tls.tickets import LoadedSecret, TicketSecret, load_secret, name_of, paths_of

T = TypeVar("T")

DIGEST_ROUND: Final = 300.0
"""Seconds within which the content of every file is compared, however many there are."""

_FEW: Final = 16
"""Items whose content is compared at every look."""

Label: TypeAlias = tuple[str, ...]
"""An item as other processes know it: its name and its files."""


@dataclass(kw_only=True, eq=False)
class Item(Generic[T]):
    """Something that is loaded from files, and what these were like when it was loaded."""

    name: str
    paths: Callable[[], Sequence[Path]]
    load: Callable[[], T]
    key: Key | None = None
    state: State[T] | None = None
    stamp: Stamp = NO_STAMP

    @property
    def value(self) -> T | None:
        """What is in use."""
        return None if self.state is None else self.state.value

    @property
    def files(self) -> tuple[Path, ...]:
        """Its paths; none where a source of the user's own fails to tell, which loading it reports."""
        try:
            return tuple(self.paths())
        except Exception:  # noqa: BLE001
            return ()

    @property
    def label(self) -> Label:
        return (self.name, *map(str, self.files))


@dataclass(frozen=True)
class Kept:
    """A good value for another process, and what its files were like; nothing is known of them where they are bad."""

    value: Any
    stamp: Stamp


Known: TypeAlias = Mapping[Label, Kept]

NOTHING: Final[Known] = MappingProxyType({})


@dataclass
class Round:
    """What an attempt came to. Nothing of it is in use yet."""

    loaded: dict[Item[Any], Any] = field(default_factory=dict)
    refused: dict[Item[Any], ASGITLSError] = field(default_factory=dict)
    dropped: list[Key] = field(default_factory=list)

    def refuse(self, error: ASGITLSError, *items: Item[Any]) -> None:
        """These cannot be served after all."""
        for item in items:
            self.loaded.pop(item, None)
            self.refused[item] = error

    @property
    def is_news(self) -> bool:
        """Whether something else is to be served."""
        return bool(self.loaded or self.dropped)

    @property
    def differs(self) -> bool:
        """Whether anything is not as it was: what has no files is loaded each time."""
        return bool(self.refused or self.dropped) or any(item.value != new for item, new in self.loaded.items())


@dataclass(frozen=True)
class Offer:
    """What would be served after a round."""

    names: Names
    trust: ClientTrust | None
    secret: LoadedSecret | None

    @property
    def shared(self) -> dict[str, Any]:
        """What all names share, as arguments of `ServerContext.prepare`."""
        return {
            "client_ca": None if self.trust is None else self.trust.authorities,
            "client_crl": None if self.trust is None else self.trust.crls,
            "ticket_secret": None if self.secret is None else self.secret.data,
        }


@dataclass(kw_only=True)
class Inventory:
    """The certificates by name, the directory of pairs, the client trust and the ticket secret of one server.

    `vet` has the last word on each certificate that is to be served: it may raise, and the certificate is refused.
    """

    profile: TLSProfile
    sources: Mapping[str, tuple[CertificateSource, ...]]
    directory: PEMDirectory | None = None
    client_ca: Path | None = None
    client_crl: Path | None = None
    vet: Callable[[Certificate], None] | None = None
    ticket_secret: TicketSecret | None = field(default=None, repr=False)
    trust: Item[ClientTrust] | None = field(default=None, init=False)
    secret: Item[LoadedSecret] | None = field(default=None, init=False)
    listing: Item[tuple[Pair, ...]] | None = field(default=None, init=False)
    certificates: dict[Key, Item[Certificate]] = field(default_factory=dict, init=False)
    names: Names = field(init=False)
    notes: list[Notice] = field(default_factory=list, init=False)
    _pairs: tuple[Pair, ...] = field(default=(), init=False)
    _gone: dict[Key, float] = field(default_factory=dict, init=False)
    _turn: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if (authorities := self.client_ca) is not None:
            files = tuple(path for path in (authorities, self.client_crl) if path is not None)
            self.trust = Item(
                name=", ".join(map(str, files)), paths=lambda: files, load=lambda: self._load_trust(authorities)
            )
        if (secret := self.ticket_secret) is not None:
            self.secret = Item(name=name_of(secret), paths=lambda: paths_of(secret), load=lambda: load_secret(secret))
        for source in (source for sources in self.sources.values() for source in sources):
            self.certificates.setdefault(id(source), self._item(source, id(source)))
        self.names = Names({name: tuple(map(id, sources)) for name, sources in self.sources.items()})
        if (directory := self.directory) is not None:
            listed: Item[tuple[Pair, ...]]
            listed = Item(name=str(directory), paths=tuple, load=lambda: directory.pairs(listed.value or ()))
            self.listing = listed

    @property
    def everything(self) -> list[Item[Any]]:
        """The items, and the directory itself."""
        return self.items if self.listing is None else [self.listing, *self.items]

    @property
    def items(self) -> list[Item[Any]]:
        """All that has files, without the directory itself and without pairs that are gone from it."""
        pairs = [item for key, item in self.certificates.items() if key not in self._gone]
        return [*(item for item in (self.trust, self.secret) if item is not None), *pairs]

    @property
    def good(self) -> dict[Label, Kept]:
        """What `load` takes as known in another process. It holds keys."""
        everything = self.everything
        labels = Counter(item.label for item in everything)
        return {
            item.label: Kept(item.value, item.stamp if isinstance(item.state, Good) else NO_STAMP)
            for item in everything
            if item.value is not None and labels[item.label] == 1  # sources in memory have equal labels
        }

    def load(self, now: float, *, known: Known = NOTHING, loaded: Known = NOTHING) -> None:
        """Everything, for the first time. What was `loaded` of the same files before, or is `known` of them, is not
        loaded again. What is known of others stays in use where the files cannot be used.

        Raises what is wrong with the first item that cannot be used and is not known.
        """
        _recall(self.listing, known)
        self._list(now)
        either = {**known, **loaded}
        for item in self.items:
            _recall(item, either)
        others = [item for item in self.items if item.state is None or not item.files or _is_other(item, read=True)]
        for item in others:
            item.state = None
            _recall(item, known)
        in_use = {key: item.value for key, item in self.certificates.items() if item.value is not None}
        self.names = self.names.updated(in_use)
        found = self.attempt(others, now)
        other = set(others)
        same = [item for item in self.items if item not in other]
        for item in same:
            self._vet(item, item.value, found)
        closed = [str(path) for item in same for path in item.files if is_closed(path)]
        if closed:
            text = (
                f"{some(closed, 3)} cannot be read by the user of the workers, which serve what their "
                "parent has loaded. Send SIGHUP to the parent after each renewal, or let the user read the files."
            )
            self.notes.append(Notice("unreadable-file", text))
        self.commit(found, self.offer(found), now)
        for item in self.everything:
            is_newcomer = known and isinstance(item.key, str)  # to the directory of a server that runs already
            if isinstance(item.state, Bad) and item.label not in known and not is_newcomer:
                raise item.state.error
        if self.directory is not None and not self.names.groups:
            raise ConfigurationError(
                f"{{directory}} is {self.directory}, which contains no key pair",
                fix="Put pairs into it: NAME/fullchain.pem with NAME/privkey.pem, or NAME.crt with NAME.key.",
                settings=("directory",),
            )

    def changed(self, now: float, *, interval: float, at_once: bool = False) -> list[Item[Any]]:
        """The items to load: their files are others than before, or could not be used. `at_once` reads all contents.

        `interval` is the time between two looks, by which the files of thousands take turns to be read.
        """
        self._list(now)
        items = self.items
        count = len(items) if at_once else min(len(items), max(_FEW, math.ceil(len(items) * interval / DIGEST_ROUND)))
        turn = {(self._turn + number) % len(items) for number in range(count)}
        self._turn += count
        return [
            item
            for number, item in enumerate(items)
            if not isinstance(item.state, Good) or (at_once and not item.files) or _is_other(item, read=number in turn)
        ]

    def attempt(self, items: Sequence[Item[Any]], now: float) -> Round:
        """Load these, and drop what has been gone from the directory for a while. Raises nothing."""
        found = Round()
        if self.listing is not None and isinstance(self.listing.state, Good):
            found.dropped = [key for key, since in self._gone.items() if now - since >= GRACE]
        for item in items:
            try:
                item.stamp = stamp_of(item.paths())
                found.loaded[item] = value = item.load()
            except ASGITLSError as error:
                found.refuse(error, item)
            except Exception as error:  # noqa: BLE001 -- a source of the user's own: it must not end the reloading
                found.refuse(of_source(item.name, error), item)
            else:
                self._vet(item, value, found)
        return found

    def offer(self, found: Round) -> Offer:
        """What would be served after this round. Refuses first what cannot be served for a name that was given.

        Raises ConfigurationError where a value that is in use does not fit its name: at a start, with other settings.
        """
        while True:
            changes: dict[Key, Certificate | None] = dict.fromkeys(found.dropped)
            changes |= {item.key: value for item, value in found.loaded.items() if item.key is not None}
            names = self.names.updated(changes)
            misfit = self._misfit(names)
            if misfit is None:
                return Offer(names, _newest(self.trust, found), _newest(self.secret, found))
            group, error = misfit
            refused = [item for item, value in found.loaded.items() if any(value is one for one in group)]
            if not refused:
                raise error
            found.refuse(error, *refused)

    def commit(self, found: Round, offer: Offer, now: float) -> None:
        """From now on this is in use."""
        for item, value in found.loaded.items():
            item.state = took(value)
        for item, error in found.refused.items():
            item.state = refused(item.state, error, now)
        for key in found.dropped:
            del self.certificates[key], self._gone[key]
        self.names = offer.names

    def overdue(self, now: float, *, at_once: bool = False) -> list[tuple[Item[Any], ASGITLSError]]:
        """The errors to report now. Each is returned once."""
        found = []
        for item in self.everything:
            if isinstance(item.state, Bad) and is_due(item.state, now, at_once=at_once):
                item.state = reported(item.state)
                found.append((item, item.state.error))
        return found

    def is_unsettled(self) -> bool:
        """Whether to look again soon: something is bad or gone, and has not been for long."""
        return bool(self._gone) or any(
            is_unreported(item.state) and isinstance(item.state, Bad) and not is_passing(item.state.error)
            for item in self.items
        )

    def _list(self, now: float) -> None:
        """Take the pairs that came to the directory, and note those that are gone."""
        if (listing := self.listing) is None:
            return
        try:
            listing.state = took(listing.load())
        except ASGITLSError as error:
            listing.state = refused(listing.state, error, now)
        pairs = listing.value or ()
        if pairs == self._pairs:
            return
        for certfile, keyfile in sorted({*pairs}.difference(self._pairs)):
            item = self._item(OneOfSeveral(certfile, keyfile), certfile)
            if (before := self.certificates.get(certfile)) is not None:  # its key has moved
                item.state = before.state
            self.certificates[certfile] = item
        self._pairs = pairs
        listed = dict(pairs)
        self._gone = {
            key: self._gone.get(key, now) for key in self.certificates if isinstance(key, str) and key not in listed
        }

    def _item(self, source: CertificateSource, key: Key) -> Item[Certificate]:
        def load() -> Certificate:
            certificate = source.load()
            # Alone and first: if OpenSSL refuses one of many, it is known which.
            scratch = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            set_ciphers(scratch, self.profile)
            load_cert_chain(scratch, certificate)
            return certificate

        return Item(name=str(source), paths=lambda: source.paths, load=load, key=key)

    def _load_trust(self, authorities: Path) -> ClientTrust:
        trust = load_client_trust(authorities, self.client_crl)
        scratch = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        scratch.load_verify_locations(cadata=trust.authorities)
        if trust.crls is not None:
            load_crls(scratch, trust.crls)
        return trust

    def _vet(self, item: Item[Any], value: Any, found: Round) -> None:
        if self.vet is not None and isinstance(value, Certificate):
            try:
                self.vet(value)
            except ASGITLSError as error:
                found.refuse(error, item)

    def _misfit(self, names: Names) -> tuple[Sequence[Certificate], ASGITLSError] | None:
        for name in self.sources:
            group = names.groups.get(name, ())
            try:
                if group:
                    check_group(name, group)
            except ASGITLSError as error:
                return group, error
        return None


def _recall(item: Item[Any] | None, known: Known) -> None:
    if item is not None and (kept := known.get(item.label)) is not None:
        item.state, item.stamp = Good(kept.value), kept.stamp.seen_from(status_of(item.files))


def _is_other(item: Item[Any], *, read: bool) -> bool:
    """Whether the files are others than those that were loaded. Without `read`, their content counts only if their
    status is another.
    """
    paths = item.files
    status = status_of(paths)
    if status == item.stamp.status and not read:
        return False
    still = item.stamp.still(Stamp(status, digest_of(paths)))
    if still is None:
        return True
    item.stamp = still
    return False


def _newest(item: Item[T] | None, found: Round) -> T | None:
    value: T | None = None if item is None else found.loaded.get(item, item.value)
    return value
