"""gunicorn: its `ssl_context` hook, and the module for `gunicorn -c python:asgi_tls.servers.gunicorn APP`.

gunicorn has no hook that sees its whole configuration before it listens and again at SIGHUP, and in three cases it
would silently serve something other than the settings ask for. So two of its methods are extended:

- `Arbiter.setup` runs at the start and at each SIGHUP, as the user that gunicorn was started by, before workers are
  forked. There the certificates are loaded and checked. A worker that cannot read them serves what was loaded.
- `Config.is_ssl` decides about TLS, and asks for `certfile` and `keyfile` alone: it is true for our hook as well. It
  would break if gunicorn decided by another property; tests/servers would show plain HTTP.
- Its ASGI worker logs an exception of the hook and goes on in plain HTTP: the hook exits instead, whatever happens,
  with the status at which the arbiter stops.
- uvicorn's worker for gunicorn ignores the hook: it is refused.

The ASGI worker makes an `ASGIProtocol` for each connection, a name in its module: a subclass stands there whose
application knows the connection, where the context is ours. It would break if gunicorn made its connections in another
way; tests/servers would show it: the application would learn nothing about its connection.
"""

from __future__ import annotations

import abc
import asyncio
import errno
import functools
import logging
import mmap
import os
import ssl
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import gunicorn.arbiter
import gunicorn.config
import gunicorn.util
from gunicorn.app.wsgiapp import WSGIApplication

from asgi_tls.connection import connected
from asgi_tls.errors import ASGITLSError, ConfigurationError
from asgi_tls.events import Notice
from asgi_tls.handshake.ssl_object import TLSObject
from asgi_tls.listeners import shared_metrics
from asgi_tls.servers import addresses, plain
from asgi_tls.servers.build import server_tls
from asgi_tls.servers.given import Given, read
from asgi_tls.servers.ignored import IGNORED, POLICY, option_error, python_error
from asgi_tls.servers.listening import check_metrics
from asgi_tls.servers.logs import stop
from asgi_tls.servers.worker import ContextMaker

if TYPE_CHECKING:
    from asgi_tls.server import ServerTLS

_LOGGER: Final = "gunicorn.error"
# Set where the sockets come from systemd, or from the arbiter before SIGUSR2.
_INHERITED: Final = {"LISTEN_FDS", "GUNICORN_FD"}
_WORKERS_WITHOUT_THE_HOOK: Final = ("uvicorn", "UvicornWorker", "UvicornH11Worker")


class _Factory(ContextMaker):
    """A value of `ssl_context`. gunicorn's sync and threaded workers call it for each connection: it caches."""

    server_logger = _LOGGER

    def __init__(self) -> None:
        _extend_gunicorn()
        self._logged, self._quiet, self._public_port = set(), (), None
        # Whether a worker has logged what the arbiter could not know: forked workers share this byte.
        self._by_worker = mmap.mmap(-1, 1)
        self._arbiter = 0
        self._context: tuple[int, ssl.SSLContext] | None = None

    def prepare(self, config: gunicorn.config.Config, previous: _Factory | None) -> None:
        """In the arbiter, before it forks: check and load what the workers serve, and what they fall back to.

        `previous` is what was served until this SIGHUP. Raises ASGITLSError, and changes nothing then.
        """
        _refuse_foreign_worker(config.worker_class_str)
        if previous is None and _INHERITED.isdisjoint(os.environ):
            # gunicorn itself reports a port in use, and tries again.
            addresses.check_free(addresses.of_gunicorn(config.address), but_for=errno.EADDRINUSE)
        self._arbiter = os.getpid()
        if previous is None:
            tls, notices = self._checked(config, None)
        else:
            tls, notices = self._checked(config, previous.tls)
            self._logged, self._by_worker = previous._logged, previous._by_worker
        tls.follow()
        self.tls, self._notices = tls, notices
        shared_metrics.hand_over(config.uid, config.gid)
        if tls.orders:
            from asgi_tls.renewal.acme.start import hand_over

            hand_over(tls.orders, config.uid, config.gid)
        self.announce(notices)

    def announce(self, notices: Iterable[Notice]) -> None:
        """Also once where workers find something, since all of them find the same."""
        if os.getpid() == self._arbiter:
            super().announce(notices)
        elif (fresh := [notice for notice in notices if notice not in self._logged]) and not self._by_worker[0]:
            self._by_worker[0] = 1
            super().announce(fresh)

    def serve_from_the_start(self, config: gunicorn.config.Config) -> None:
        """Blocking workers ask for their context when the first client connects. Renewals, metrics and orders must not
        wait for one. The ASGI worker asks in its event loop, before it listens.
        """
        theirs = config.post_worker_init

        def make_context(worker: Any) -> None:
            theirs(worker)
            if not hasattr(worker, "loop"):
                self(config, ssl.create_default_context)

        config.set("post_worker_init", make_context)

    @abc.abstractmethod
    def _checked(
        self, config: gunicorn.config.Config, previous: ServerTLS | None
    ) -> tuple[ServerTLS, Sequence[Notice]]:
        """The ServerTLS, and what it warns of. `previous` has the last that was valid.

        Raises ASGITLSError where it cannot serve.
        """

    def __call__(self, config: gunicorn.config.Config, _default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        """The context of this process. Exits with status 3 where it cannot be made."""
        # A context made before a fork would share its session secrets by accident, so each process makes its own.
        if self._context is None or self._context[0] != os.getpid():
            try:
                # SIGHUP stays gunicorn's: it makes new workers.
                self._context = os.getpid(), self.make(_alpn(config), config.graceful_timeout).ssl_context
                asgi: Any = sys.modules.get("gunicorn.workers.gasgi")
                if asgi is not None:
                    asgi.ASGIProtocol = _connected(asgi.ASGIProtocol)
            except Exception as error:  # noqa: BLE001 -- another gunicorn than those that were tested
                stop(error, _LOGGER)
        return self._context[1]


class GunicornContextFactory(_Factory):
    """For a ServerTLS that was made in gunicorn.conf.py."""

    def __init__(self, tls: ServerTLS) -> None:
        super().__init__()
        self.tls = tls

    def _checked(
        self, config: gunicorn.config.Config, previous: ServerTLS | None
    ) -> tuple[ServerTLS, Sequence[Notice]]:
        for name in _changed(config, IGNORED):
            raise python_error("gunicorn", name)
        return self.tls, self.tls.check(previous)


class SettingsContextFactory(_Factory):
    """For settings of our command line (`options`), of gunicorn, the environment and a file: read again at SIGHUP."""

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self._options = options
        self.given = Given({}, {})
        self.replaces: object = None
        """The hook of a gunicorn.conf.py, which would have no effect beside this one."""

    def _checked(
        self, config: gunicorn.config.Config, previous: ServerTLS | None
    ) -> tuple[ServerTLS, Sequence[Notice]]:
        given = read(
            self._options, own={name: (f"--{name}", getattr(config, name)) for name in ("certfile", "keyfile")}
        )
        with given.spelled():
            for name in _changed(config, POLICY):
                raise option_error(f"gunicorn's {name}", name)
            if not (self.replaces is None or isinstance(self.replaces, SettingsContextFactory)):
                raise ConfigurationError(
                    "the ssl_context of gunicorn's configuration would have no effect",
                    fix="Remove it, or start `gunicorn` itself.",
                )
            tls = server_tls(given)
            if self._options is None:
                plain.refuse(given.values, tls, "gunicorn")
                if previous is None and "GUNICORN_FD" not in os.environ:
                    check_metrics(given.values, addresses.of_gunicorn(config.address))
            notices = tls.check(previous)
        self.given, self._quiet, self._public_port = given, given.quiet, given.public_port
        return tls, notices


@functools.cache
def _connected(base: Any) -> Any:
    if getattr(base, "is_connected", False):
        return base

    class Connected(base):  # type: ignore[misc]  # gunicorn's class of this process
        is_connected = True

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            handshake = transport.get_extra_info("ssl_object")
            if isinstance(handshake, TLSObject):
                self.app: Any = connected(self.app, handshake)
            super().connection_made(transport)

    return Connected


def _changed(config: gunicorn.config.Config, names: Mapping[str, Any]) -> list[str]:
    """Which of these settings of gunicorn's have another value than its default."""
    settings = gunicorn.config.make_settings()
    return [name for name in names if name in settings and config.settings[name].get() != settings[name].get()]


def _extend_gunicorn() -> None:
    if hasattr(gunicorn.arbiter.Arbiter.setup, "asgi_tls"):
        return
    their_setup, their_is_ssl = gunicorn.arbiter.Arbiter.setup, gunicorn.config.Config.is_ssl.fget

    def setup(self: Any, app: Any) -> None:
        their_setup(self, app)
        hook, previous = app.cfg.ssl_context, vars(self).get("asgi_tls")
        if not isinstance(hook, _Factory):
            return
        try:
            hook.prepare(app.cfg, previous)
        except ASGITLSError as error:
            if previous is None and isinstance(app, Application):
                raise
            if previous is None:
                stop(error, _LOGGER)
            logging.getLogger(_LOGGER).error("kept the previous TLS settings: %s %s", error, error.more)  # noqa: TRY400
            app.cfg.set("ssl_context", hook := previous)
        else:
            self.asgi_tls = hook
            if previous is None and isinstance(app, Application):
                app.open_plain_port()
        hook.serve_from_the_start(app.cfg)

    def is_ssl(self: Any) -> bool:
        return isinstance(self.settings["ssl_context"].get(), _Factory) or bool(their_is_ssl(self))

    setup.asgi_tls = True  # type: ignore[attr-defined]
    gunicorn.arbiter.Arbiter.setup = setup
    gunicorn.config.Config.is_ssl = property(is_ssl)


def _refuse_foreign_worker(worker_class: str) -> None:
    if any(part in _WORKERS_WITHOUT_THE_HOOK for part in worker_class.split(".")):
        raise ConfigurationError(
            f"gunicorn's worker {worker_class} ignores ssl_context: it would serve without this profile",
            fix="Use `-k asgi` (gunicorn's own ASGI worker), or `asgi-tls uvicorn --workers N`.",
        )


def _alpn(config: gunicorn.config.Config) -> list[str]:
    protocols = config.http_protocols if hasattr(config, "http_protocols") else ["h1"]
    names = {"h1": "http/1.1", "h2": "h2"}
    return [names[protocol] for protocol in protocols or ["h1"] if protocol in names]


class Application(WSGIApplication):  # type: ignore[misc]  # gunicorn has no types
    """`asgi-tls gunicorn`: gunicorn's command with these arguments of its own, and `options` of ours."""

    def __init__(self, arguments: Sequence[str], options: Mapping[str, Any]) -> None:
        self._arguments = arguments
        self._hook = SettingsContextFactory(options)
        super().__init__("%(prog)s [OPTIONS] [APP_MODULE]", prog="asgi-tls gunicorn")

    def load_default_config(self) -> None:
        """gunicorn's defaults, but for the worker: its own default cannot serve ASGI."""
        super().load_default_config()
        self.cfg.set("worker_class", "asgi")

    def load_config(self) -> None:
        """Called again at SIGHUP."""
        full = sys.argv  # gunicorn starts itself by it at SIGUSR2
        sys.argv = ["gunicorn", *self._arguments]
        try:
            super().load_config()
        finally:
            sys.argv = full
        self._hook.replaces = self.cfg.ssl_context if _changed(self.cfg, {"ssl_context": ()}) else None
        self.cfg.set("ssl_context", self._hook)

    def open_plain_port(self) -> None:
        """In a process of its own: the arbiter forks workers, which would inherit the connections of a thread here.

        At SIGUSR2 it serves on for the new arbiter.
        """
        if "GUNICORN_FD" not in os.environ:
            listening_on = addresses.of_gunicorn(self.cfg.address)
            with self._hook.given.spelled():
                check_metrics(self._hook.given.values, listening_on)
                listeners = plain.listeners(self._hook.given.values, self._hook.tls, listening_on)
            plain.in_process(
                listeners, lambda: gunicorn.util.set_owner_process(self.cfg.uid, self.cfg.gid, self.cfg.initgroups)
            )

    def run(self) -> None:
        """Also with --check-config, which makes no arbiter."""
        if self.cfg.check_config:
            self._hook.prepare(self.cfg, None)
        elif _INHERITED.isdisjoint(os.environ) and not (self.cfg.print_config or self.cfg.reuse_port):
            # gunicorn would try a port in use again for seconds, and end with a status of its own.
            addresses.check_free(addresses.of_gunicorn(self.cfg.address))
        super().run()


# What gunicorn reads of this module as a configuration file.
ssl_context = SettingsContextFactory()
