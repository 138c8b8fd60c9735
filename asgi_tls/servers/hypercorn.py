"""hypercorn: a `Config` that makes our context, and the module that `hypercorn -c python:…` reads.

For each TCP connection hypercorn makes a `TCPServer`, a name in its module `asyncio.run`: a subclass stands there whose
application knows the connection, where the context is ours. It would break if hypercorn made its connections in another
way; tests/servers would show it: the application would learn nothing of its connection.

HTTP/3 is aioquic's: TLS 1.3 with its own suites and groups, and a certificate from `certfile` and `keyfile`, which
quic.py keeps fresh. A profile that is narrower than those cannot be kept there, so it is refused together with
`quic_bind`.
"""

from __future__ import annotations

import functools
import importlib
import logging
import secrets
import ssl
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NoReturn

from hypercorn.config import Config

from asgi_tls import _openssl
from asgi_tls.connection import connected
from asgi_tls.errors import ASGITLSError, ConfigurationError
from asgi_tls.handshake.ssl_object import TLSObject
from asgi_tls.renewal.reloader import running_loop
from asgi_tls.renewal.sighup import reload_on_sighup
from asgi_tls.servers import STARTUP_FAILURE, environment, quic
from asgi_tls.servers.logs import follow
from asgi_tls.tickets import MIN_SECRET

if TYPE_CHECKING:
    from asgi_tls.server import ServerTLS

_OURS: Final = frozenset(
    {"certfile", "keyfile", "keyfile_password", "ca_certs", "ciphers", "cert_reqs", "verify_mode", "verify_flags"}
)
"""hypercorn's own TLS settings, which our context would silently ignore."""

_AIOQUIC_CIPHERSUITES: Final = {"TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"}
_AIOQUIC_GROUPS: Final = {"X25519", "P-256", "P-384"}


# Seconds after which hypercorn has said that it runs, and so has set up its logging.
_LOGGING_IS_UP: Final = 1.0


class TLSConfig(Config):
    """hypercorn's configuration with the context of a ServerTLS. Safe to pickle, as hypercorn's workers need."""

    tls: ServerTLS
    _known: Mapping[str, Any] = MappingProxyType({})

    def __getstate__(self) -> dict[str, Any]:
        # Pickled for each worker that is started, also for those that take the place of others: they get what was good
        # last, so that bad files take down no server that runs.
        self._known = self.tls.good(self._known)
        return self.__dict__

    @classmethod
    def create(cls, tls: ServerTLS, **settings: Any) -> TLSConfig:
        """Check the settings and the certificates now, before anything listens.

        Raises ConfigurationError for a name that hypercorn does not know, and what `ServerTLS.check` raises.
        """
        for name in settings:
            if name in _OURS:
                raise ConfigurationError(
                    f"hypercorn's {name} would have no effect", fix="Give certificates and policy to ServerTLS."
                )
            if not hasattr(Config, name) and name not in Config.__annotations__:
                raise ConfigurationError(
                    f"hypercorn has no setting {name!r}", fix="See hypercorn's documentation for the right name."
                )
        config = cls()
        for name, value in settings.items():
            setattr(config, name, value)
        config.adopt(tls)
        return config

    def adopt(self, tls: ServerTLS) -> None:
        """Serve with these certificates and this policy from now on.

        Raises what `ServerTLS.check` raises.
        """
        if self.quic_bind:
            self.certfile, self.keyfile = check_quic(tls)
        tls.check()
        self.tls = tls

    @property
    def ssl_enabled(self) -> bool:
        """Always: hypercorn would fall back to plain HTTP without a certfile and a keyfile."""
        return True

    def create_ssl_context(self) -> ssl.SSLContext:
        """Called once in each worker, inside its event loop. Exits with status 3 where there is no context."""
        return _live_context(self.tls, self.alpn_protocols, self, self._known)


def _live_context(
    tls: ServerTLS | None,
    alpn: Sequence[str],
    owner: object,
    known: Mapping[str, Any] | None = None,
    *,
    secret: bytes | None = None,
) -> ssl.SSLContext:
    """The context of this process, from the environment without `tls`; `owner` is how HTTP/3 finds it. `secret` is
    for the session tickets where the settings have none.
    """
    if isinstance(owner, Config):
        _ = owner.log  # hypercorn sets up its logging when it is first asked for it
        follow("hypercorn.error")
    elif (loop := running_loop()) is not None:
        loop.call_later(_LOGGING_IS_UP, follow, "hypercorn.error")
    try:
        tls = _server_tls() if tls is None else tls
        if secret is not None and tls.ticket_secret is None and _openssl.can_set_ticket_keys():
            tls = replace(tls, ticket_secret=secret)
        context = tls.create_server_context(alpn=alpn, watch=True, known=known)
    except ASGITLSError as error:
        _exit(error)
    reload_on_sighup(context)
    serving: Any = importlib.import_module("hypercorn.asyncio.run")
    serving.TCPServer = _connected(serving.TCPServer)
    quic.follow(owner, context)
    return context.ssl_context


@functools.cache
def _connected(base: Any) -> Any:
    if getattr(base, "is_connected", False):
        return base

    class Connected(base):  # type: ignore[misc]  # hypercorn's class of this process
        is_connected = True

        def __init__(self, app: Any, *args: Any, **kwargs: Any) -> None:
            super().__init__(app, *args, **kwargs)
            handshake = self.writer.get_extra_info("ssl_object")
            if isinstance(handshake, TLSObject):
                self.app = connected(app, handshake)

    return Connected


def check_quic(tls: ServerTLS) -> tuple[str, str]:
    """The files for HTTP/3: certificate and key.

    Raises ConfigurationError where HTTP/3 could not keep what the settings promise.
    """
    if tls.client_ca is not None:
        raise ConfigurationError(
            "HTTP/3 in hypercorn cannot ask for client certificates", fix="Leave out quic_bind, or client_ca."
        )
    if tls.stapling == "required":
        raise ConfigurationError(
            "HTTP/3 in hypercorn cannot staple OCSP responses", fix='Leave out quic_bind, or set stapling to "auto".'
        )
    left_out = _AIOQUIC_CIPHERSUITES.difference(tls.profile.ciphersuites) | _AIOQUIC_GROUPS.difference(
        tls.profile.groups
    )
    if left_out and not tls.allow_unsupported:
        raise ConfigurationError(
            f"HTTP/3 in hypercorn negotiates {', '.join(sorted(_AIOQUIC_CIPHERSUITES))} with "
            f"{', '.join(sorted(_AIOQUIC_GROUPS))} or X448, and profile {tls.profile.name} allows less",
            fix="Leave out quic_bind, or set allow_unsupported.",
        )
    sources = tls.sources
    source = next(iter(sources.values()))[0]
    if len(sources) > 1 or not source.paths:
        raise ConfigurationError(
            "HTTP/3 in hypercorn serves one certificate, from files",
            fix="Leave out quic_bind, or give one PEMFiles or LetsEncrypt.",
        )
    if getattr(source, "password", None) is not None:
        raise ConfigurationError(
            f"{source}: HTTP/3 in hypercorn cannot read an encrypted key",
            fix="Leave out quic_bind, or decrypt the key.",
        )
    return str(source.paths[0]), str(source.paths[-1])


def _exit(error: ASGITLSError) -> NoReturn:
    logging.getLogger("hypercorn.error").error("TLS cannot start: %s %s", error, error.more)
    sys.exit(STARTUP_FAILURE)


# From here on: what `hypercorn -c python:asgi_tls.servers.hypercorn APP` reads. hypercorn copies each name of dir()
# onto a plain Config, so there is no `self`: everything comes from the environment.


class _FromEnvironment:
    """`create_ssl_context` of hypercorn's configuration object, with which it is pickled for each worker: so the secret
    that tickets are made with, where the environment gives none, is the same in all of them.
    """

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(MIN_SECRET)

    def __call__(self) -> ssl.SSLContext:
        """The context for the settings in the environment."""
        return _live_context(None, Config.alpn_protocols, self, secret=self._secret)


create_ssl_context = _FromEnvironment()


def __dir__() -> list[str]:
    return ["certfile", "create_ssl_context", "keyfile"]


def __getattr__(name: str) -> Any:
    if name not in {"certfile", "keyfile"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return _files(_server_tls(), sys.argv)[name]
    except ASGITLSError as error:
        print(f"Error: {error}\n{error.more}", file=sys.stderr)  # noqa: T201 -- hypercorn has no logging yet
        sys.exit(STARTUP_FAILURE)


def _server_tls() -> ServerTLS:
    values = environment.from_environment()
    environment.refuse_plain_port(values, "plain hypercorn")
    return environment.server_tls(values)


def _files(tls: ServerTLS, arguments: list[str]) -> Mapping[str, str]:
    """What makes hypercorn listen with TLS, and HTTP/3 find its files."""
    given = {argument.partition("=")[0] for argument in arguments}
    for option in sorted(given & {f"--{name.replace('_', '-')}" for name in _OURS}):
        raise ConfigurationError(
            f"{option} would have no effect beside -c python:{__name__}",
            fix="Set ASGI_TLS_CERTFILE, ASGI_TLS_KEYFILE and the like, or use `asgi-tls hypercorn`.",
        )
    if "--quic-bind" in given:
        certfile, keyfile = check_quic(tls)
    else:
        # hypercorn only asks whether they are set.
        certfile = keyfile = str(next(iter(tls.sources.values()))[0])
    tls.check()
    return {"certfile": certfile, "keyfile": keyfile}
