"""hypercorn: a `Config` that makes our context, and the module that `hypercorn -c python:…` reads.

For each TCP connection hypercorn makes a `TCPServer`, a name in its module `asyncio.run`: a subclass stands there whose
application knows the connection, where the context is ours. It would break if hypercorn made its connections in another
way; tests/servers would show it: the application would learn nothing about its connection.

HTTP/3 is aioquic's: TLS 1.3 with its own suites and groups, and a certificate from `certfile` and `keyfile`, which
quic.py keeps fresh. A profile that is narrower than those cannot be enforced there, so it is refused together with
`quic_bind`.
"""

from __future__ import annotations

import argparse
import errno
import functools
import importlib
import ssl
import sys
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Final

from hypercorn.config import Config

from asgi_tls.connection import connected
from asgi_tls.errors import ASGITLSError, ConfigurationError
from asgi_tls.handshake.ssl_object import TLSObject
from asgi_tls.renewal.sighup import reload_on_sighup
from asgi_tls.servers import STARTUP_FAILURE, addresses, plain, quic
from asgi_tls.servers.build import server_tls
from asgi_tls.servers.given import Given, read
from asgi_tls.servers.ignored import IGNORED, option_error, python_error
from asgi_tls.servers.listening import check_metrics
from asgi_tls.servers.worker import ContextMaker

if TYPE_CHECKING:
    from asgi_tls.context.server_context import ServerContext
    from asgi_tls.server import ServerTLS

_AIOQUIC_CIPHERSUITES: Final = {"TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"}
_AIOQUIC_GROUPS: Final = {"X25519", "P-256", "P-384"}


class HypercornContext(ContextMaker):
    """`create_ssl_context` of a configuration, which is pickled with it for each worker."""

    server_logger = "hypercorn.error"
    live: ServerContext | None = None
    """The context of this process: HTTP/3 serves its certificate."""

    def __init__(
        self,
        tls: ServerTLS,
        quiet: Collection[str] = (),
        public_port: int | None = None,
        config: Config | None = None,
    ) -> None:
        super().__init__(tls, tls.check(), quiet, public_port)
        self._config = config

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"live": None}

    def __call__(self) -> ssl.SSLContext:
        """Called once in each worker, inside its event loop. Exits with status 3 where there is no context."""
        if self._config is not None:
            _ = self._config.log  # hypercorn sets up its logging when it is first asked for it
        config = self._config or Config
        self.live = self.make(config.alpn_protocols, config.graceful_timeout)
        reload_on_sighup(self.live)
        serving: Any = importlib.import_module("hypercorn.asyncio.run")
        serving.TCPServer = _connected(serving.TCPServer)
        quic.install()
        return self.live.ssl_context


class TLSConfig(Config):
    """hypercorn's configuration with the context of a ServerTLS. Safe to pickle, as hypercorn's workers need."""

    @classmethod
    def create(cls, tls: ServerTLS, **settings: Any) -> TLSConfig:
        """Check the settings and the certificates now, before anything listens.

        Raises ConfigurationError for a name that hypercorn does not know, and what `ServerTLS.check` raises.
        """
        config = cls()
        for name, value in settings.items():
            if not hasattr(Config, name) and name not in Config.__annotations__:
                raise ConfigurationError(
                    f"hypercorn has no setting {name!r}", fix="See hypercorn's documentation for the right name."
                )
            setattr(config, name, value)
        config.adopt(tls)
        return config

    def __setattr__(self, name: str, value: Any) -> None:
        """Raises ConfigurationError for what the context would silently ignore."""
        if name in IGNORED:
            raise python_error("hypercorn", name)
        super().__setattr__(name, value)

    def adopt(self, tls: ServerTLS, quiet: Collection[str] = (), public_port: int | None = None) -> None:
        """Serve with these certificates and this policy from now on. For the rest see `ContextMaker`.

        Raises what `ServerTLS.check` raises.
        """
        if self.quic_bind:
            vars(self).update(zip(("certfile", "keyfile"), check_quic(tls), strict=True))
        self.create_ssl_context = HypercornContext(  # type: ignore[method-assign]  # it is called
            tls, quiet, public_port, self
        )

    @property
    def ssl_enabled(self) -> bool:
        """Always: hypercorn would fall back to plain HTTP without a certfile and a keyfile."""
        return True


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
    sources, profile = tls.sources, tls.profile
    source = next(iter(sources.values()))[0]
    left_out = _AIOQUIC_CIPHERSUITES.difference(profile.ciphersuites) | _AIOQUIC_GROUPS.difference(profile.groups)
    for unfit, problem, fix, settings in (
        (tls.client_ca is not None, "cannot ask for client certificates", "remove {client_ca}", ("client_ca",)),
        (tls.stapling == "required", "cannot staple OCSP responses", "set {stapling} to auto", ("stapling",)),
        (
            left_out and not tls.allow_unsupported,
            f"negotiates {', '.join(sorted(_AIOQUIC_CIPHERSUITES))} with {', '.join(sorted(_AIOQUIC_GROUPS))} or X448, "
            f"and profile {profile.name} allows less",
            "set {allow_unsupported}",
            ("allow_unsupported",),
        ),
        (len(sources) > 1 or not source.paths, "serves one certificate, from files", "name one certificate", ()),
        (getattr(source, "password", None) is not None, "cannot read an encrypted key", "decrypt the key", ()),
        (not quic.can_parse(source.paths), "cannot parse this certificate", "have the certificate issued again", ()),
    ):
        if unfit:
            raise ConfigurationError(
                f"HTTP/3 in hypercorn {problem}",
                fix=f"Remove {{quic_bind}}, or {fix}.",
                settings=("quic_bind", *settings),
            )
    return str(source.paths[0]), str(source.paths[-1])


# From here on: what `hypercorn -c python:asgi_tls.servers.hypercorn APP` reads. hypercorn copies each name of dir()
# onto a plain Config: the files that make it listen with TLS, and what makes the context.


def __dir__() -> list[str]:
    return ["certfile", "create_ssl_context", "keyfile"]


def __getattr__(name: str) -> Any:
    if name not in __dir__():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _from_environment()[name]


@functools.cache
def _from_environment() -> dict[str, Any]:
    try:
        given = read(own={"quic_bind": ("--quic-bind", None)})
        with given.spelled():
            return _settings(given, sys.argv)
    except ASGITLSError as error:
        print(f"Error: {error}\n{error.more}", file=sys.stderr)  # noqa: T201 -- hypercorn has no logging yet
        sys.exit(STARTUP_FAILURE)


def _settings(given: Given, arguments: list[str]) -> dict[str, Any]:
    options = {argument.partition("=")[0] for argument in arguments}
    for name in IGNORED:
        if (option := f"--{name.replace('_', '-')}") in options:
            raise option_error(option, name)
    tls = server_tls(given)
    plain.refuse(given.values, tls, "hypercorn")
    listening_on = addresses.of_hypercorn(_binds(arguments, "--bind", "-b"))
    insecure = addresses.of_hypercorn(_binds(arguments, "--insecure-bind"), "--insecure-bind")
    check_metrics(given.values, [*listening_on, *insecure])
    # hypercorn itself reports a port in use.
    addresses.check_free(listening_on, but_for=errno.EADDRINUSE)
    if "--quic-bind" in options:
        certfile, keyfile = check_quic(tls)
    else:
        # hypercorn only asks whether they are set.
        certfile = keyfile = str(next(iter(tls.sources.values()))[0])
    return {
        "certfile": certfile,
        "keyfile": keyfile,
        "create_ssl_context": HypercornContext(tls, given.quiet, given.public_port),
    }


def _binds(arguments: list[str], *option: str) -> list[str]:
    """The values of an option of hypercorn's."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument(*option, action="append", default=[], dest="found")
    found: list[str] = parser.parse_known_args(arguments[1:])[0].found
    return found
