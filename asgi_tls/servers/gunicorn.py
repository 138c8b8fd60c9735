"""gunicorn: its `ssl_context` hook, and the module for `gunicorn -c python:asgi_tls.servers.gunicorn APP`.

Three things in gunicorn would quietly serve something else than what was asked for, and are closed here:

- gunicorn speaks TLS only when `certfile` or `keyfile` is set, whatever the hook says: `is_ssl` is widened to be true
  for our hook. It would break if gunicorn decided about TLS by another property; tests/servers would show plain HTTP.
- Its ASGI worker logs an exception of the hook and goes on in plain HTTP: the hook exits instead, with the status at
  which the arbiter stops. The certificates are checked in the arbiter as well, before it listens.
- uvicorn's worker for gunicorn ignores the hook: it is refused.

The ASGI worker makes an `ASGIProtocol` for each connection, a name in its module: a subclass stands there whose
application knows the connection, where the context is ours. It would break if gunicorn made its connections in another
way; tests/servers would show it: the application would learn nothing of its connection.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import secrets
import ssl
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NoReturn

import gunicorn.config

from asgi_tls import _openssl
from asgi_tls.connection import connected
from asgi_tls.errors import ASGITLSError, ConfigurationError
from asgi_tls.handshake.ssl_object import TLSObject
from asgi_tls.servers import STARTUP_FAILURE, environment
from asgi_tls.servers.logs import follow
from asgi_tls.tickets import MIN_SECRET

if TYPE_CHECKING:
    from asgi_tls.server import ServerTLS

_WORKERS_WITHOUT_THE_HOOK = ("uvicorn", "UvicornWorker", "UvicornH11Worker")


# What was good when the arbiter last looked, by source: at its start and at each SIGHUP. Workers are forked from it, so
# those that are started again have it where the files have gone bad since. At SIGHUP gunicorn may make new factories
# out of its configuration, so it stands here.
_known: Final[dict[str, Any]] = {}

# What session tickets are made with where the configuration gives no secret: SIGHUP and new workers keep it.
_secret: Final = secrets.token_bytes(MIN_SECRET)


class GunicornContextFactory:
    """The value of `ssl_context`. gunicorn's sync and threaded workers call it for each connection: it caches.

    `tls` None means: from the environment and from gunicorn's own `certfile` and `keyfile`.
    """

    def __init__(self, tls: ServerTLS | None) -> None:
        _widen_is_ssl()
        self._tls = tls
        self._checked = False
        self._context: tuple[int, ssl.SSLContext] | None = None

    def __call__(self, config: gunicorn.config.Config, _default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        """The context of this process."""
        # A context made before a fork would share its session secrets by accident, so each process makes its own.
        if self._context is None or self._context[0] != os.getpid():
            follow("gunicorn.error")
            try:
                # SIGHUP stays gunicorn's: it makes new workers, and those load what is there.
                context = (
                    self._server_tls(config)
                    .create_server_context(alpn=_alpn(config), watch=True, known=_known)
                    .ssl_context
                )
            except ASGITLSError as error:
                _exit(error)
            self._context = os.getpid(), context
            asgi: Any = sys.modules.get("gunicorn.workers.gasgi")
            if asgi is not None:
                asgi.ASGIProtocol = _connected(asgi.ASGIProtocol)
        return self._context[1]

    def check(self, config: gunicorn.config.Config) -> None:
        """Once, in the arbiter, before it listens: exit where a worker could not serve TLS."""
        if self._checked:
            return
        self._checked = True
        try:
            _refuse_foreign_worker(config.worker_class_str)
            tls = self._server_tls(config)
            tls.check(_known)
            _known.update(tls.good(_known))
        except ASGITLSError as error:
            _exit(error)

    def _server_tls(self, config: gunicorn.config.Config) -> ServerTLS:
        if self._tls is None:
            values = environment.from_environment()
            environment.refuse_plain_port(values, "gunicorn")
            self._tls = environment.server_tls(values, certfile=config.certfile, keyfile=config.keyfile)
        if self._tls.ticket_secret is None and _openssl.can_set_ticket_keys():
            self._tls = replace(self._tls, ticket_secret=_secret)
        return self._tls


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


def _widen_is_ssl() -> None:
    configuration: Any = gunicorn.config.Config
    original = configuration.is_ssl.fget
    if getattr(original, "asgi_tls", False):
        return

    def is_ssl(self: Any) -> bool:
        hook = self.settings["ssl_context"].get()
        if isinstance(hook, GunicornContextFactory):
            hook.check(self)
            return True
        return bool(original(self))

    is_ssl.asgi_tls = True  # type: ignore[attr-defined]
    configuration.is_ssl = property(is_ssl)


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


def _exit(error: ASGITLSError) -> NoReturn:
    logging.getLogger("gunicorn.error").error("TLS cannot start: %s %s", error, error.more)
    sys.exit(STARTUP_FAILURE)


# What gunicorn reads of this module as a configuration file.
ssl_context = GunicornContextFactory(None)
