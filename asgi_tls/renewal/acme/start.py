"""What a server with ACME sources needs before it listens, and in each process that serves."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import Sequence
from importlib.util import find_spec

from asgi_tls.errors import ConfigurationError
from asgi_tls.events import Listener
from asgi_tls.listeners.dispatch import in_loop
from asgi_tls.renewal.acme.source import ACME
from asgi_tls.renewal.reloader import Reloader


def prepare(sources: Sequence[ACME]) -> None:
    """Check what only settings can mend, and answer http-01 in this process. Raises ConfigurationError."""
    if not sources:
        return
    if find_spec("acme") is None:
        raise ConfigurationError("ACME needs certbot's package acme", fix="pip install 'asgi-tls[acme]'.")
    storage = sources[0].storage
    if any(source.storage != storage for source in sources):
        raise ConfigurationError(
            "the ACME sources of one server have several storages", fix="Give all of them the same storage."
        )
    storage.check()
    storage.refresh(["account.pem", *(source.certificate_entry for source in sources)])
    from asgi_tls.renewal.acme.board import answer_by

    answer_by(storage)


def hand_over(sources: Sequence[ACME], uid: int, gid: int) -> None:
    """Before workers of another user start: an empty storage becomes theirs. Raises ConfigurationError for one with
    contents of somebody else's.
    """
    if not sources or os.name != "posix" or uid == os.geteuid():
        return
    directory = sources[0].storage.local
    inside = [directory, *directory.rglob("*")]
    if all(path.stat().st_uid == uid for path in inside):
        return
    if any(path.is_file() and path.stat().st_size for path in inside):
        raise ConfigurationError(
            f"the ACME storage {directory} belongs to another user than the workers (uid {uid})",
            fix=f"chown -R {uid}:{gid} {directory}",
            settings=("acme_storage",),
        )
    for path in inside:
        os.chown(path, uid, gid)


def keep_alive(
    sources: Sequence[ACME], reloader: Reloader, *, tell: Listener, loop: asyncio.AbstractEventLoop | None
) -> None:
    """Order and renew for as long as the reloader works."""
    from asgi_tls.renewal.acme.manager import Manager

    living = weakref.ref(reloader)

    def is_over() -> bool:
        found = living()
        return found is None or found.is_over

    def nudge() -> None:
        if (found := living()) is not None:
            found.nudge()

    Manager(sources, tell=in_loop(loop, tell), is_over=is_over, nudge=nudge).start()
