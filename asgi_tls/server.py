"""ServerTLS: certificates and a profile, tied together for whichever server serves them."""

from __future__ import annotations

import importlib
import itertools
import logging
import math
import os
import secrets
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeGuard, get_args

from asgi_tls.certificate import Certificate, CertificateSource, PEMDirectory
from asgi_tls.certificate.by_name import Sources, sources_by_name
from asgi_tls.certificate.loaded import OrderedSource
from asgi_tls.certificate.sources import check_path
from asgi_tls.context.policy import AS_PROFILE, AS_SWITCH
from asgi_tls.context.server_context import ClientAuth, ServerContext
from asgi_tls.errors import ConfigurationError, UnsupportedError, check_type
from asgi_tls.events import Listener, Notice
from asgi_tls.handshake.accept import can_accept, receive_with
from asgi_tls.handshake.plain_http import PlainHTTP
from asgi_tls.listeners.log import log_events, log_notices
from asgi_tls.profile import INTERMEDIATE, TLSProfile
from asgi_tls.renewal.inventory import NOTHING, Inventory, Offer, Round
from asgi_tls.renewal.parent import Parent
from asgi_tls.renewal.reloader import Reloader, loaded_event, notices_of, running_loop
from asgi_tls.stapling import Stapling
from asgi_tls.stapling.stapler import Stapler
from asgi_tls.tickets import DEFAULT_ROTATION, MIN_SECRET, Rotation, TicketSecret, check_tickets

if TYPE_CHECKING:
    from hypercorn.config import Config

    from asgi_tls.renewal.acme.source import ACME

logger = logging.getLogger("asgi_tls")

CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "client_auth": get_args(ClientAuth),
    "plain_http": get_args(PlainHTTP),
    "stapling": get_args(Stapling),
}
"""The settings that take one of a few words, and those words."""

_NO_ADDRESSES: Final = (
    "This event loop accepts connections by itself (the proactor loop of Windows does): events of handshakes name no "
    "address, and the guard blocks nobody. On Linux and macOS they do."
)

_SECONDS: Final = {"reload_interval": 5, "handshake_timeout": 10}
"""The settings that are a length of time, with an example each."""


@dataclass(frozen=True)
class ServerTLS:
    """The TLS settings of a server. Frozen and picklable, for worker processes. Creating it reads no files.

    After `check`, its pickle contains private keys: workers get what their parent has loaded.

    `certificates` is one source, several (an ECDSA and an RSA pair for the same names), or a mapping of host names to
    either. A mapping may have "*.example.org", and "default" for clients that ask for another name or for none;
    without "default" those are refused with the alert unrecognized_name.

    `client_ca` is a PEM file of the CAs whose client certificates are accepted. `client_auth` is "required" (the
    default with `client_ca`) or "optional".

    `client_crl` is a PEM file of the CRLs of those CAs: then a client is accepted only while each CA of its chain,
    including the root, has a valid one.

    `directory` contains more key pairs, each served for the names in it (see `PEMDirectory`). Pairs may be added and
    removed while the server runs. Names in `certificates` come first; it may be an empty mapping.

    `reload_interval` is how often, in seconds, the files are checked for changes while the server runs. To change
    anything else than their content, make a new ServerTLS and restart the server.

    `allow_unsupported` logs what this platform cannot enforce of the profile, instead of raising UnsupportedError.

    `handshake_timeout` is in seconds, from the connection to the end of the handshake. `plain_http` is the answer to a
    plain HTTP request on the TLS port: "redirect" to https if a certificate covers the host, or "reject", always 400.

    `stapling` of OCSP responses: "auto" if the certificate names a responder, "required" also refuses a certificate
    without a good response, "off" never.

    `ticket_secret` is what the keys of session tickets are derived from: at least 32 random bytes, a `TicketSecretFile`
    or a callable that returns them. Servers with the same secret and the same policy resume each other's sessions.
    Without one, the workers of this object share a random one. The keys change every `ticket_rotation` seconds.

    `listeners` get each event of `asgi_tls.events`; by default each becomes a log record.

    Raises ConfigurationError.
    """

    certificates: Sources | Mapping[str, Sources]
    _: KW_ONLY
    profile: TLSProfile = INTERMEDIATE
    client_ca: str | os.PathLike[str] | None = None
    client_auth: ClientAuth | None = None
    client_crl: str | os.PathLike[str] | None = None
    directory: str | os.PathLike[str] | None = None
    reload_interval: float = 5.0
    allow_unsupported: bool = False
    handshake_timeout: float = 10.0
    plain_http: PlainHTTP = "redirect"
    stapling: Stapling = "auto"
    ticket_secret: TicketSecret | None = field(default=None, repr=False)
    ticket_rotation: float = DEFAULT_ROTATION
    listeners: Sequence[Listener] = (log_events,)

    def __post_init__(self) -> None:
        _check_type("profile", self.profile, TLSProfile, AS_PROFILE)
        _check_type("allow_unsupported", self.allow_unsupported, bool, AS_SWITCH)
        for name, choices in CHOICES.items():
            _check_choice(name, getattr(self, name), choices)
        for name, example in _SECONDS.items():
            _check_seconds(name, getattr(self, name), example)
        for name in ("client_ca", "client_crl"):
            if (path := getattr(self, name)) is not None:
                check_path(name, path)
        for name in ("client_auth", "client_crl"):
            if getattr(self, name) is not None and self.client_ca is None:
                raise ConfigurationError(
                    f"{{{name}}} is set without {{client_ca}}",
                    fix="Set {client_ca} to a PEM file with the CAs whose clients may connect.",
                    settings=(name, "client_ca"),
                )
        if self.client_ca is not None and self.client_auth is None:
            object.__setattr__(self, "client_auth", "required")
        check_tickets(self.ticket_secret, self.ticket_rotation)
        object.__setattr__(self, "_sources", sources_by_name(self.certificates, self.directory))
        # Copies in workers take it along. It is not a field: nothing prints it.
        object.__setattr__(self, "_made_secret", secrets.token_bytes(MIN_SECRET))

    @property
    def sources(self) -> dict[str, tuple[CertificateSource, ...]]:
        """The certificate sources by host name, in a uniform shape."""
        return dict(self.__dict__["_sources"])

    def __getstate__(self) -> dict[str, Any]:
        # For a worker that is spawned: the last good values go with it.
        state = {name: value for name, value in self.__dict__.items() if name != "_kept"}
        if (parent := self._parent) is not None:
            self.follow()
            state["_known"] = parent.good
        return state

    def load(self) -> dict[str, tuple[Certificate, ...]]:
        """Read and validate every certificate; each source is read once.

        Raises CertificateError.
        """
        inventory = self._inventory()
        inventory.load(time.monotonic(), loaded=NOTHING if self._parent is None else self._parent.good)
        return dict(inventory.names.groups)

    def create_server_context(self, *, alpn: Sequence[str] = (), watch: bool | None = None) -> ServerContext:
        """The live context with its certificates loaded. `alpn` lists application protocols in order of preference.

        Its files are followed for as long as the running event loop exists, without a loop only if `watch` is true;
        `reload()` loads them at once. In a worker, certificates that its parent has loaded are served if the files are
        no longer valid, so that a restarted worker does not fail.

        Raises CertificateError, ConfigurationError, UnsupportedError.
        """
        stapler = Stapler(self.stapling)
        inventory = self._inventory(stapler.vet)
        parent = self._parent
        found: list[Notice] = []
        if parent is None:
            if "_known" not in self.__dict__:
                found = self._prepare_orders()  # nobody has called `check`
            inventory.load(time.monotonic(), known=self.__dict__.get("_known", NOTHING))
        elif parent.is_this_process:
            inventory.load(time.monotonic(), loaded=parent.good)
        else:
            inventory.load(time.monotonic(), known=parent.good)
        context, offer = self._outer_context(stapler, alpn), inventory.offer(Round())
        context.use(offer.names.groups, **offer.shared)
        context.notes += [*found, *_notices(inventory, offer)]
        tell = receive_with(
            context.ssl_context,
            listeners=self.listeners,
            covers=context.covers,
            timeout=self.handshake_timeout,
            plain_http=self.plain_http,
        )
        for certificate in _each(offer):
            tell(loaded_event(certificate))
        loop = running_loop()
        if loop is not None and not can_accept(loop):
            context.notes.append(Notice("event-loop", _NO_ADDRESSES))
        if self.client_auth is not None and watch and loop is None:
            context.without_sessions()
        if watch is not False:
            stapler.start(context, tell=tell, loop=loop)
        if watch or (watch is None and loop is not None):
            reloader = Reloader(context, inventory, tell=tell, interval=self.reload_interval, loop=loop)
            if ordered := self.orders:
                from asgi_tls.renewal.acme.start import keep_alive

                keep_alive(ordered, reloader, tell=tell, loop=loop)
        return context

    def _outer_context(self, stapler: Stapler, alpn: Sequence[str] = ()) -> ServerContext:
        context = ServerContext(
            self.profile,
            alpn=alpn,
            client_auth=self.client_auth,
            check_crl=self.client_crl is not None,
            allow_unsupported=self.allow_unsupported,
            find_staple=None if self.stapling == "off" else stapler.find,
            # Where sessions stand for client certificates, none outlives its epoch.
            rotation=(Rotation if self.client_auth else Rotation.gentle)(self.ticket_rotation),
            threaded=running_loop() is None,
        )
        if self.ticket_secret is not None and context.resumption is None and not self.allow_unsupported:
            raise UnsupportedError(
                "{ticket_secret} is set, but this Python cannot reach libssl to set the ticket keys",
                fix="Run `asgi-tls doctor` for the reason. Remove {ticket_secret}, or set {allow_unsupported}.",
                settings=("ticket_secret", "allow_unsupported"),
            )
        return context

    @property
    def orders(self) -> tuple[ACME, ...]:
        """The sources whose certificates are ordered by ACME here."""
        return tuple(one for group in self.sources.values() for one in group if _is_ordered(one))

    def _prepare_orders(self) -> list[Notice]:
        if not (ordered := self.orders):
            return []
        from asgi_tls.renewal.acme.start import prepare

        return prepare(ordered)

    def _inventory(self, vet: Callable[[Certificate], None] | None = None) -> Inventory:
        return Inventory(
            profile=self.profile,
            sources=self.sources,
            directory=None if self.directory is None else PEMDirectory(self.directory),
            client_ca=None if self.client_ca is None else Path(self.client_ca),
            client_crl=None if self.client_crl is None else Path(self.client_crl),
            vet=vet,
            ticket_secret=self.ticket_secret or self.__dict__["_made_secret"],
        )

    def create_context(self, *, alpn: Sequence[str] = ()) -> ssl.SSLContext:
        """An `ssl.SSLContext` for any asyncio server and any protocol over TLS.

        Raises the same as `create_server_context`.
        """
        context = self.create_server_context(alpn=alpn)
        log_notices(context.notes)
        return context.ssl_context

    def check(self, previous: ServerTLS | None = None) -> list[Notice]:
        """Load and check everything before the server listens. Returns the warnings of the start.

        `previous` is what was served until now: its certificates stay in use where the files are no longer valid, and
        its sessions can still be resumed.

        Raises the same as `create_server_context`.
        """
        known = NOTHING
        if previous is not None and previous._parent is not None:
            known = previous._parent.good
            object.__setattr__(self, "_made_secret", previous.__dict__["_made_secret"])
        found = self._prepare_orders()
        stapler = Stapler(self.stapling)
        inventory = self._inventory(stapler.vet_only)
        inventory.load(time.monotonic(), known=known)
        offer = inventory.offer(Round())
        # Each pair was tried when it was loaded. What is left to try is what all of them share, so one is enough.
        one_name = dict(itertools.islice(offer.names.groups.items(), 1))
        context = self._outer_context(stapler)
        context.use(one_name, **offer.shared)
        object.__setattr__(self, "_kept", Parent(inventory, interval=self.reload_interval))
        return [*context.notes, *found, *_notices(inventory, offer)]

    def follow(self) -> None:
        """Keep what `check` has loaded up to date with the files, for workers that start later."""
        if self._parent is not None:
            self._parent.follow()

    @property
    def _parent(self) -> Parent | None:
        """What `check` has loaded, here or in the process that this one was forked from."""
        return self.__dict__.get("_kept")

    def uvicorn_kwargs(self) -> dict[str, Any]:
        """Keyword arguments for `uvicorn.run` and `uvicorn.Config`, checked: bad certificates raise here."""
        factory = _adapter("uvicorn", "UvicornContextFactory")
        return {"ssl_context_factory": factory(self, self.check())}

    def hypercorn_config(self, **settings: Any) -> Config:
        """A `hypercorn.config.Config` with these settings, checked: unknown ones raise ConfigurationError here."""
        config: Config = _adapter("hypercorn", "TLSConfig").create(self, **settings)
        return config

    @property
    def gunicorn_ssl_context(self) -> Callable[..., ssl.SSLContext]:
        """The value of `ssl_context` in a gunicorn.conf.py."""
        factory: Callable[..., ssl.SSLContext] = _adapter("gunicorn", "GunicornContextFactory")(self)
        return factory


def _is_ordered(source: CertificateSource) -> TypeGuard[ACME]:
    return isinstance(source, OrderedSource)


def _each(offer: Offer) -> Iterable[Certificate]:
    return dict.fromkeys(one for group in offer.names.groups.values() for one in group)


def _notices(inventory: Inventory, offer: Offer) -> Iterator[Notice]:
    """What a start warns of that comes from files."""
    yield from inventory.notes
    for shared in (offer.secret, offer.trust):
        if shared is not None:
            yield from shared.warnings
    for certificate in _each(offer):
        yield from notices_of(certificate)


def _check_type(name: str, value: object, expected: type, fix: str) -> None:
    check_type(f"{{{name}}}", value, expected, fix, settings=(name,))


def _check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    if value not in choices and not (value is None and ServerTLS.__dataclass_fields__[name].default is None):
        listed = " or ".join(f'"{choice}"' for choice in choices)
        raise ConfigurationError(f"{{{name}}} is {value!r}", fix=f"Choose {listed}.", settings=(name,))


def _check_seconds(name: str, value: object, example: int) -> None:
    if not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ConfigurationError(
            f"{{{name}}} is {value!r}", fix=f"Set it to seconds above 0, for example {example}.", settings=(name,)
        )


def _adapter(server: str, name: str) -> Any:
    """What plugs into a server, found by name: adapters import this module, which must not import them."""
    return getattr(importlib.import_module(f"asgi_tls.servers.{server}"), name)
