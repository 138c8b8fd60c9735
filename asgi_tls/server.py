"""ServerTLS: certificates and a profile, tied together for whichever server serves them."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asgi_tls import accept
from asgi_tls.certificate import Certificate, CertificateSource
from asgi_tls.certificate.names import canonical_name, parse_ip
from asgi_tls.context import DEFAULT, ClientAuth, ServerContext
from asgi_tls.dispatch import Dispatcher
from asgi_tls.errors import ConfigurationError
from asgi_tls.events import CertificateLoadedEvent, Listener, notify
from asgi_tls.handshake import Reception
from asgi_tls.listeners.log import log_events
from asgi_tls.plain_http import PlainHTTP
from asgi_tls.profile import INTERMEDIATE, TLSProfile
from asgi_tls.trust import load_ca_bundle

if TYPE_CHECKING:
    from asgi_tls.servers.gunicorn import GunicornContextFactory
    from asgi_tls.servers.hypercorn import TLSConfig

logger = logging.getLogger("asgi_tls")

Sources = CertificateSource | Sequence[CertificateSource]
"""One source, or several for the same names: an ECDSA and an RSA certificate."""


@dataclass(frozen=True)
class ServerTLS:
    """How a server does TLS. Frozen and picklable: it reaches worker processes, and reads files only when asked.

    `certificates` is one source, several (an ECDSA and an RSA pair for the same names), or a mapping of host names to
    either. A mapping may have "*.example.org", and "default" for clients that ask for another name or for none;
    without "default" those are refused with the alert unrecognized_name.

    `client_ca` is a PEM file of the CAs whose client certificates are accepted, `client_auth` says whether a client
    must have one ("required", the default with `client_ca`) or may ("optional").

    `allow_unsupported` logs what this platform cannot enforce of the profile, where it would raise.

    `handshake_timeout` is in seconds, from the connection to the end of the handshake. `plain_http` says what a plain
    HTTP request to the TLS port gets: a redirect to https where a certificate covers its host, or 400 always.

    `listeners` are told each event of `asgi_tls.events`; by default each becomes a log record.

    Raises ConfigurationError.
    """

    certificates: Sources | Mapping[str, Sources]
    _: KW_ONLY
    profile: TLSProfile = INTERMEDIATE
    client_ca: str | os.PathLike[str] | None = None
    client_auth: ClientAuth | None = None
    allow_unsupported: bool = False
    handshake_timeout: float = 10.0
    plain_http: PlainHTTP = "redirect"
    listeners: Sequence[Listener] = (log_events,)

    def __post_init__(self) -> None:
        if not isinstance(self.profile, TLSProfile):
            raise ConfigurationError(
                f"profile is {self.profile!r}", fix="Give a TLSProfile: MODERN, INTERMEDIATE or one derived from them."
            )
        if self.client_auth not in {None, "required", "optional"}:
            raise ConfigurationError(
                f"client_auth is {self.client_auth!r}", fix='Give "required", "optional" or nothing.'
            )
        if self.client_auth is not None and self.client_ca is None:
            raise ConfigurationError(
                f"client_auth is {self.client_auth!r}, and there is no CA to verify clients with",
                fix="Give client_ca, a PEM file with the CAs whose clients may connect.",
            )
        if self.client_ca is not None and self.client_auth is None:
            object.__setattr__(self, "client_auth", "required")
        if self.handshake_timeout <= 0 or not math.isfinite(self.handshake_timeout):
            raise ConfigurationError(
                f"handshake_timeout is {self.handshake_timeout!r}", fix="Give seconds, as in 10.0."
            )
        if self.plain_http not in {"redirect", "reject"}:
            raise ConfigurationError(f"plain_http is {self.plain_http!r}", fix='Give "redirect" or "reject".')
        object.__setattr__(self, "_sources", _by_name(self.certificates))

    @property
    def sources(self) -> dict[str, tuple[CertificateSource, ...]]:
        """The certificate sources by host name, in one shape whatever was given."""
        return dict(self.__dict__["_sources"])

    def load(self) -> dict[str, tuple[Certificate, ...]]:
        """Read and validate every certificate; each source is read once.

        Raises CertificateError.
        """
        loaded: dict[int, Certificate] = {}
        for sources in self.sources.values():
            for source in sources:
                if id(source) not in loaded:
                    loaded[id(source)] = source.load()
        return {name: tuple(loaded[id(source)] for source in sources) for name, sources in self.sources.items()}

    def create_server_context(self, *, alpn: Sequence[str] = ()) -> ServerContext:
        """The live context with its certificates loaded. `alpn` names application protocols, the most wanted first.

        Raises CertificateError, ConfigurationError, UnsupportedError: no context is better than a weak one.
        """
        context, certificates = self._build(alpn)
        self._receive_with(context)
        for note in context.notes:
            logger.warning("%s", note)
        for certificate in dict.fromkeys(one for group in certificates.values() for one in group):
            notify(self.listeners, loaded_event(certificate))
            for warning in certificate.warnings:
                logger.warning("%s: %s", certificate.source, warning)
        return context

    def _receive_with(self, context: ServerContext) -> None:
        """See every handshake of this context, in the event loop that runs now, if one does."""
        dispatcher = Dispatcher(self.listeners)
        context.ssl_context.reception = Reception(
            tell=dispatcher.tell,
            tell_session=dispatcher.tell_session,
            covers=context.covers,
            timeout=float(self.handshake_timeout),
            plain_http=self.plain_http,
            admits=dispatcher.admits if dispatcher.gates else None,
            drained=lambda: dispatcher.idle,
        )
        try:
            accept.install(asyncio.get_running_loop())
        except RuntimeError:  # no loop: gunicorn's blocking workers, or a context made ahead of the loop
            logger.debug("no event loop runs: servers of asyncio accept on their own, and events name no address")

    def _build(self, alpn: Sequence[str] = ()) -> tuple[ServerContext, dict[str, tuple[Certificate, ...]]]:
        certificates = self.load()
        client_ca = None if self.client_ca is None else load_ca_bundle(Path(self.client_ca))
        context = ServerContext(
            self.profile, alpn=alpn, client_auth=self.client_auth, allow_unsupported=self.allow_unsupported
        )
        context.use(certificates, client_ca=client_ca)
        return context, certificates

    def create_context(self, *, alpn: Sequence[str] = ()) -> ssl.SSLContext:
        """An `ssl.SSLContext` for any asyncio server and any protocol over TLS.

        Raises the same as `create_server_context`.
        """
        return self.create_server_context(alpn=alpn).ssl_context

    def check(self) -> None:
        """Raise what serving would raise, before anything listens. Nobody is told."""
        self._build()

    def uvicorn_kwargs(self) -> dict[str, Any]:
        """Keyword arguments for `uvicorn.run` and `uvicorn.Config`, checked: a bad certificate raises here."""
        from asgi_tls.servers.uvicorn import UvicornContextFactory

        self.check()
        return {"ssl_context_factory": UvicornContextFactory(self)}

    def hypercorn_config(self, **settings: Any) -> TLSConfig:
        """A `hypercorn.config.Config` with these settings, checked: a misspelt one and a bad certificate raise here."""
        from asgi_tls.servers.hypercorn import TLSConfig

        return TLSConfig.create(self, **settings)

    @property
    def gunicorn_ssl_context(self) -> GunicornContextFactory:
        """The value of `ssl_context` in a gunicorn.conf.py."""
        from asgi_tls.servers.gunicorn import GunicornContextFactory

        return GunicornContextFactory(self)


def loaded_event(certificate: Certificate) -> CertificateLoadedEvent:
    """The event for a certificate that is served from now on."""
    return CertificateLoadedEvent(
        source=certificate.source,
        subject_alt_names=certificate.subject_alt_names,
        not_after=certificate.not_after,
        fingerprint_sha256=certificate.fingerprint_sha256,
    )


def _by_name(certificates: object) -> dict[str, tuple[CertificateSource, ...]]:
    if not isinstance(certificates, Mapping):
        return {DEFAULT: _as_sources(certificates, DEFAULT)}
    if not certificates:
        raise ConfigurationError("certificates is an empty mapping", fix='Map a host name, or "default", to a source.')
    named: dict[str, tuple[CertificateSource, ...]] = {}
    for spelling, sources in certificates.items():
        name = spelling if spelling == DEFAULT else _host_name(spelling)
        if name in named:
            raise ConfigurationError(f"certificates maps {name!r} twice", fix="Keep one of the entries.")
        named[name] = _as_sources(sources, name)
    return named


def _as_sources(value: object, name: str) -> tuple[CertificateSource, ...]:
    if isinstance(value, CertificateSource):
        return (value,)
    if isinstance(value, Sequence) and not isinstance(value, str) and value:
        for each in value:
            if not isinstance(each, CertificateSource):
                break
        else:
            return tuple(value)
    raise ConfigurationError(
        f"the certificates for {name!r} are {value!r}",
        fix='Give a source such as PEMFiles("fullchain.pem", "privkey.pem"), or a list of them.',
    )


def _host_name(spelling: object) -> str:
    """A name as clients send it: A-labels in lower case, with an optional "*." in front."""
    fix = 'Give "example.com", "*.example.org" or "default".'
    if not isinstance(spelling, str):
        raise ConfigurationError(f"{spelling!r} in certificates is no host name", fix=fix)
    name = canonical_name(spelling)
    if parse_ip(name) is not None:
        raise ConfigurationError(
            f"{spelling!r} in certificates is an address, and clients name none in a handshake (RFC 6066 section 3)",
            fix=fix,
        )
    return name
