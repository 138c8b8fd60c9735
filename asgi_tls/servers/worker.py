"""What makes the context in each process that serves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from asgi_tls.errors import ASGITLSError
from asgi_tls.servers.logs import follow, stop

if TYPE_CHECKING:
    from asgi_tls.context.server_context import ServerContext
    from asgi_tls.server import ServerTLS


class ContextMaker:
    """A ServerTLS on its way to the processes that serve with it. Picklable, for those that are spawned.

    Each copy takes along what was good last, also for a worker that takes another one's place: so bad files stop no
    server that runs.
    """

    server_logger: ClassVar[str]
    tls: ServerTLS
    _known: Mapping[str, Any]

    def __init__(self, tls: ServerTLS) -> None:
        self.tls, self._known = tls, {}

    def __getstate__(self) -> dict[str, Any]:
        self._known = self.tls.good(self._known)
        return self.__dict__

    def make(self, alpn: Sequence[str], graceful_timeout: float | None) -> ServerContext:
        """The context of this process. Exits with status 3 where it cannot be made.

        `graceful_timeout` is the server's own, in seconds: how long its connections may take to end when it stops.
        An exception would end the worker with status 1, and its parent would start it again and again.
        """
        follow(self.server_logger)
        try:
            made = self.tls.create_server_context(alpn=alpn, watch=True, known=self._known)
        except ASGITLSError as error:
            stop(error, self.server_logger)
        if (reception := made.ssl_context.tls_reception) is not None:
            made.ssl_context.tls_reception = replace(reception, graceful_timeout=graceful_timeout)
        return made
