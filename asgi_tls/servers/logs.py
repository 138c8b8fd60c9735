"""Where our log records go under a server."""

from __future__ import annotations

import logging


def follow(server_logger: str) -> None:
    """Let our records go where the server's own go, unless the application has said where.

    Python's last resort would print warnings without a level, and drop the rest.
    """
    ours = logging.getLogger("asgi_tls")
    if ours.hasHandlers():
        return
    theirs: logging.Logger | None = logging.getLogger(server_logger)
    while theirs is not None and not theirs.handlers:
        theirs = theirs.parent
    if theirs is not None:
        ours.handlers = theirs.handlers.copy()
        ours.setLevel(logging.INFO)
