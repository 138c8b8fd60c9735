"""What makes the context in each process that serves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from asgi_tls.errors import ASGITLSError
from asgi_tls.servers.logs import follow, stop

if TYPE_CHECKING:
    from asgi_tls.context.server_context import ServerContext
    from asgi_tls.server import ServerTLS


class ContextMaker:
    """A ServerTLS on its way to the processes that serve with it. Picklable, for those that are spawned."""

    server_logger: ClassVar[str]

    def __init__(self, tls: ServerTLS) -> None:
        self.tls = tls

    def make(self, alpn: Sequence[str], graceful_timeout: float | None) -> ServerContext:
        """The context of this process. Exits with status 3 where it cannot be made.

        `graceful_timeout` is the server's own, in seconds: how long its connections may take to end when it stops.
        An exception would end the worker with status 1, and its parent would start it again and again.
        """
        follow(self.server_logger)
        try:
            made = self.tls.create_server_context(alpn=alpn, watch=True)
        except ASGITLSError as error:
            stop(error, self.server_logger)
        if (reception := made.ssl_context.tls_reception) is not None:
            made.ssl_context.tls_reception = replace(reception, graceful_timeout=graceful_timeout)
        return made
