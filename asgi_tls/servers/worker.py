"""What makes the context in each process that serves."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from asgi_tls.events import Notice
from asgi_tls.listeners.log import log_notices
from asgi_tls.servers.logs import follow, stop

if TYPE_CHECKING:
    from asgi_tls.context.server_context import ServerContext
    from asgi_tls.server import ServerTLS


class ContextMaker:
    """A ServerTLS on its way to the processes that serve with it. Picklable, for those that are spawned.

    `notices` are the warnings of its check: the parent logs each once, except those with a code in `quiet`.
    `public_port` is the HTTPS port that clients connect to, where it is not the server's own.
    """

    server_logger: ClassVar[str]

    def __init__(
        self, tls: ServerTLS, notices: Sequence[Notice], quiet: Collection[str] = (), public_port: int | None = None
    ) -> None:
        self.tls, self._notices, self._quiet, self._public_port = tls, notices, quiet, public_port
        self._logged: set[Notice] = set()

    def __getstate__(self) -> dict[str, Any]:
        self.announce(self._notices)
        return self.__dict__

    def announce(self, notices: Iterable[Notice]) -> None:
        """Log those that have not been logged, here or by the parent."""
        follow(self.server_logger)
        fresh = [notice for notice in notices if notice not in self._logged]
        self._logged.update(fresh)
        log_notices(notice for notice in fresh if notice.code not in self._quiet)

    def make(self, alpn: Sequence[str], graceful_timeout: float | None) -> ServerContext:
        """The context of this process. Exits with status 3 where it cannot be made.

        `graceful_timeout` is the server's own, in seconds: how long its connections may take to end when it stops.
        Any exception would end the worker with status 1, and its parent would start it again and again. gunicorn's
        ASGI worker would serve plain HTTP.
        """
        self.announce(self._notices)
        try:
            made = self.tls.create_server_context(alpn=alpn, watch=True)
        except Exception as error:  # noqa: BLE001 -- a listener or a source of the user's own may raise anything
            stop(error, self.server_logger)
        self.announce(made.notes)
        if (reception := made.ssl_context.tls_reception) is not None:
            made.ssl_context.tls_reception = replace(
                reception,
                graceful_timeout=graceful_timeout,
                before_listening=self._check_application,
                public_port=self._public_port,
            )
        return made

    def _check_application(self) -> None:
        unmade: Any = sys.modules.get("asgi_tls.middleware.unmade")  # imported by an application that uses it
        if unmade is not None and (failed := unmade.failure()) is not None:
            name, error = failed
            stop(error, self.server_logger, what=name)
