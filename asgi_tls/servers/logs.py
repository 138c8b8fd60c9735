"""Where our log records go under a server, and the last line of one that cannot start."""

from __future__ import annotations

import logging
import sys
from typing import NoReturn

from asgi_tls.errors import ASGITLSError
from asgi_tls.servers import STARTUP_FAILURE

_ours = logging.getLogger("asgi_tls")


class _AsTheServers(logging.Handler):
    """Passes records to the server's handlers; to stderr before the server has set up its logging.

    An application that gives handlers to the root logger has ours there, by propagation.
    """

    server_logger: str | None = None

    def __init__(self) -> None:
        super().__init__()
        self._until_then = logging.StreamHandler()
        self._until_then.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Pass the record on."""
        if logging.getLogger().handlers:
            return
        for handler in self._of_the_server():
            if record.levelno >= handler.level:
                handler.handle(record)

    def _of_the_server(self) -> list[logging.Handler]:
        theirs = None if self.server_logger is None else logging.getLogger(self.server_logger)
        while theirs is not None and not theirs.handlers:
            theirs = theirs.parent
        return [self._until_then] if theirs is None else theirs.handlers


_handler = _AsTheServers()


def follow(server_logger: str | None) -> None:
    """Let our records go where the server's own go, unless the application has configured handlers for them.

    Python's last resort would print warnings without a level, and drop the rest.
    """
    _handler.server_logger = server_logger
    if not _ours.hasHandlers():
        _ours.addHandler(_handler)
        _ours.setLevel(logging.INFO)


def stop(error: Exception, server_logger: str, what: str = "TLS") -> NoReturn:
    """Log why this cannot start, and exit with the status that keeps a parent from starting this worker again.

    What is not an error of ours is logged with its traceback.
    """
    logger = logging.getLogger(server_logger)
    if isinstance(error, ASGITLSError):
        logger.error("%s cannot start: %s %s", what, error, error.more)
    else:
        logger.error("%s cannot start: %s: %s", what, type(error).__name__, error, exc_info=error)
    sys.exit(STARTUP_FAILURE)
