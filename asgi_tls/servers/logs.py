"""Where our log records go under a server, and the last line of one that cannot start."""

from __future__ import annotations

import logging
import sys
from typing import NoReturn

from asgi_tls.errors import ASGITLSError
from asgi_tls.servers import STARTUP_FAILURE

_ours = logging.getLogger("asgi_tls")


class _UntilTheServerLogs(logging.StreamHandler):  # type: ignore[type-arg]  # stderr, whatever it is by then
    """In the style of the servers' lines."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))


def to_stderr() -> None:
    """Our records go to stderr until the server has set up its logging, unless the application has said where."""
    if not _ours.hasHandlers():
        _ours.addHandler(_UntilTheServerLogs())
        _ours.setLevel(logging.INFO)


def follow(server_logger: str) -> None:
    """Let our records go where the server's own go, unless the application has said where.

    Python's last resort would print warnings without a level, and drop the rest.
    """
    _ours.handlers = [handler for handler in _ours.handlers if not isinstance(handler, _UntilTheServerLogs)]
    if _ours.hasHandlers():
        return
    theirs: logging.Logger | None = logging.getLogger(server_logger)
    while theirs is not None and not theirs.handlers:
        theirs = theirs.parent
    if theirs is None:
        to_stderr()
        return
    _ours.handlers = theirs.handlers.copy()
    _ours.setLevel(logging.INFO)


def stop(error: ASGITLSError, server_logger: str) -> NoReturn:
    """Say why TLS cannot start, and exit with the status that keeps a parent from starting this worker again."""
    logging.getLogger(server_logger).error("TLS cannot start: %s %s", error, error.more)
    sys.exit(STARTUP_FAILURE)
