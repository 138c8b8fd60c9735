"""A renewed certificate is served soon after its files change, and a bad one never.

One Reloader belongs to one ServerContext, so each worker has its own. Its thread loads and builds; only the swap and
the events run in the event loop, where there is one.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from asgi_tls.certificate import Certificate
from asgi_tls.certificate.trust import ClientTrust
from asgi_tls.context.server_context import ServerContext
from asgi_tls.errors import ASGITLSError, MissingFileError
from asgi_tls.events import CertificateLoadedEvent, Event, Listener, NamesRemovedEvent, Notice, ReloadFailedEvent
from asgi_tls.listeners.log import log_notices
from asgi_tls.renewal.expiry import ExpiryWatch
from asgi_tls.renewal.follower import Follower, Over
from asgi_tls.renewal.inventory import Inventory, Item, Offer, Round
from asgi_tls.tickets import LoadedSecret

logger = logging.getLogger("asgi_tls")

_GONE: Final = "It is gone; what was loaded from it stays in use. Put it back before the next restart."
_OF_PARENT: Final = "Send SIGHUP to the parent, which may read it, or let this user read it as well."

Warned: TypeAlias = Certificate | ClientTrust | LoadedSecret
"""What is loaded from files, with warnings about them."""


class Reloader:
    """Keeps what `context` serves equal to what is on disk, until the context or the event loop is gone."""

    def __init__(
        self,
        context: ServerContext,
        inventory: Inventory,
        *,
        tell: Listener,
        interval: float,
        loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        self._context = weakref.ref(context)
        self._listener = tell
        self._loop = loop
        self._inventory = inventory
        self._expiry = ExpiryWatch()
        self._has_parent = any(note.code == "unreadable-file" for note in inventory.notes)
        self._follower = Follower(inventory, self, interval=interval)
        context.reload = self.reload  # which keeps this alive as long as the context
        self._follower.start()

    def reload(self) -> None:
        """Read everything at once. Safe in a signal handler; returns before it is done."""
        self._follower.wake()

    def nudge(self) -> None:
        """Look for changed files now. Returns before it is done."""
        self._follower.nudge()

    @property
    def is_over(self) -> bool:
        """Whether the context or the loop is gone."""
        return self._context() is None or (self._loop is not None and self._loop.is_closed())

    def serve(self, offer: Offer, found: Round) -> None:
        """All of it in one swap. Raises ASGITLSError."""
        context = self._living()
        prepared = context.prepare(offer.names.groups, **offer.shared)
        lost = sorted(context.certificates.keys() - offer.names.groups.keys())
        self._in_loop(lambda: context.swap(prepared))
        if lost:
            self._tell([NamesRemovedEvent(names=tuple(lost))])
        for item, value in found.loaded.items():
            log_notices(notices_of(value, before=item.value))
            if isinstance(value, Certificate):
                self._tell([loaded_event(value)])
            elif value != item.value:
                what = "client CA bundle " if isinstance(value, ClientTrust) else ""
                logger.info("%s%s reloaded; earlier session tickets are no longer accepted", what, item.name)

    def report(self, item: Item[Any], error: ASGITLSError) -> None:
        """Send the event."""
        # The advice of a start, to check the path or to start as another user, is wrong for a file that was there.
        text = str(error)
        if item.value is not None and isinstance(error, MissingFileError):
            text = f"{error.problem}. {_GONE}"
        elif item.value is not None and isinstance(error.__cause__, PermissionError) and self._has_parent:
            text = f"{error.problem}. {_OF_PARENT}"
        self._tell([ReloadFailedEvent(source=item.name, code=error.code, msg=text, kept=_kept(item.value))])

    def unchanged(self) -> None:
        """A line in the log: whoever asked for it sees that it was done."""
        logger.info("reloaded: no file has changed")

    def rest(self) -> None:
        """Look at the clock, for what nobody else looks at on a server without visitors."""
        context = self._living()
        if context.resumption is not None and context.resumption.is_due:
            self._in_loop(context.resumption.refresh)
        trust = None if self._inventory.trust is None else self._inventory.trust.value
        self._tell(self._expiry.due(context.certificates, datetime.now(UTC), () if trust is None else trust.expiring))

    def _living(self) -> ServerContext:
        context = self._context()
        if context is None:
            raise Over
        return context

    def _tell(self, events: Iterable[Event]) -> None:
        for event in events:
            self._in_loop(lambda event=event: self._listener(event))  # type: ignore[misc]

    def _in_loop(self, action: Callable[[], None]) -> None:
        if self._loop is None:
            action()
            return
        try:
            self._loop.call_soon_threadsafe(action)
        except RuntimeError:  # it has been closed since
            raise Over from None


def _kept(value: Warned | tuple[object, ...] | None) -> str | None:
    match value:
        case None:
            return None
        case Certificate():
            return "certificate"
        case ClientTrust():
            return "client CAs" if value.crls is None else "client CAs and CRLs"
        case LoadedSecret():
            return "ticket secret"
        case _:
            return "list of pairs"


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop that runs in this thread."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def notices_of(value: Warned, *, before: Warned | None = None) -> list[Notice]:
    """What is questionable about something that is used from now on, and was not so before."""
    fresh = [warning for warning in value.warnings if before is None or warning not in before.warnings]
    # What begins with a path names its file.
    return [
        Notice(each.code, f"{value.source}: {each}") if isinstance(value, Certificate) and each[:1] != "/" else each
        for each in fresh
    ]


def loaded_event(certificate: Certificate) -> CertificateLoadedEvent:
    """The event for a certificate that is served from now on."""
    return CertificateLoadedEvent(
        source=certificate.source,
        subject_alt_names=certificate.subject_alt_names,
        not_after=certificate.not_after,
        fingerprint_sha256=certificate.fingerprint_sha256,
    )
