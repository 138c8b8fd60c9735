"""A renewed certificate is served soon after its files change, and a bad one never.

One Reloader belongs to one ServerContext, so each worker has its own. It is a thread, in every server alike: gunicorn's
sync workers have no event loop to do it in, and parsing a key takes longer than an event loop should wait. Only the
swap and the events run in the loop, where there is one. The thread looks at the files every `interval` seconds,
whenever `watchfiles` (if installed) sees something happen in their directories, and at once when `reload` is called.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import queue
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from asgi_tls.context.server_context import ServerContext
from asgi_tls.errors import ASGITLSError
from asgi_tls.events import CertificateLoadedEvent, Event, Listener, ReloadFailedEvent
from asgi_tls.renewal.expiry import ExpiryWatch
from asgi_tls.renewal.inventory import GRACE, Inventory, Kept, digest_of

if TYPE_CHECKING:
    from asgi_tls.certificate import Certificate

logger = logging.getLogger("asgi_tls")

# A certificate and its key are written one after the other: files that still change are left alone for a moment.
_SETTLE: Final = 0.05
_SETTLE_ATTEMPTS: Final = 10

# While a pair is bad and nobody has been told yet.
_SOON: Final = 0.2

_NOW: Final = "now"
_CHANGED: Final = "changed"


class Reloader:
    """Keeps what `context` serves equal to what `inventory` finds on disk, from `start` until the context or the event
    loop is gone.
    """

    def __init__(
        self,
        context: ServerContext,
        inventory: Inventory,
        *,
        tell: Listener,
        interval: float,
        loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        # A SimpleQueue may be filled from a signal handler, whatever the interrupted code was doing.
        self._wakes = wakes = queue.SimpleQueue[str]()
        self._context = weakref.ref(context, lambda _: wakes.put(_CHANGED))  # the thread ends with it
        self._inventory = inventory
        self._listener = tell
        self._interval = interval
        self._loop = loop
        self._expiry = ExpiryWatch()

    def start(self) -> None:
        """Run in a daemon thread: it never keeps a process from ending."""
        threading.Thread(target=self._run, name="asgi_tls-reload", daemon=True).start()

    def reload(self) -> None:
        """Read everything at once, changed or not. Safe in a signal handler; returns before it is done."""
        self._wakes.put(_NOW)

    def _run(self) -> None:
        with contextlib.suppress(_Over), _DirectoryWatch(lambda: self._wakes.put(_CHANGED)) as watch:
            while True:
                watch.update(self._inventory.paths)
                forced = self._wait() == _NOW
                try:
                    self._look(forced=forced)
                except _Over:
                    raise
                except Exception:  # whatever it is, it must not end the reloading for good
                    logger.exception("a reload failed; the certificates of before are served, and it is tried again")

    def _wait(self) -> str | None:
        """What ended the pause, None where nothing did."""
        try:
            found = self._wakes.get(timeout=self._pause())
            while found != _NOW:
                found = self._wakes.get_nowait()
        except queue.Empty:
            return None
        finally:
            self._check_alive()
        return found

    def _pause(self) -> float:
        unsaid = any(kept.error is not None and kept.reported is None for kept in self._inventory.all)
        leaving = any(kept.gone_since is not None for kept in self._inventory.all)
        return min(self._interval, _SOON) if unsaid or leaving else self._interval

    def _check_alive(self) -> ServerContext:
        context = self._context()
        if context is None or (self._loop is not None and self._loop.is_closed()):
            raise _Over
        return context

    def _look(self, *, forced: bool) -> None:
        inventory = self._inventory
        if forced and multiprocessing.parent_process() is None:  # a parent says it for all of its workers
            logger.info("certificates are read again, as was asked for; settings change with a restart")
        dropped = inventory.list_directory()
        changed = [kept for kept in inventory.all if kept is not inventory.listing and (forced or kept.look())]
        if changed and not forced:
            self._let_settle(changed)
        for kept in changed:
            kept.attempt()
        inventory.check_candidates()
        if dropped or any(kept.candidate is not None for kept in changed):
            self._renew(changed)
        for kept in inventory.all:
            self._report(kept, forced=forced)
        context = self._check_alive()
        if context.resumption is not None and context.resumption.is_due:  # on a server that nobody visits
            self._in_loop(context.resumption.refresh)
        served = [certificate for group in context.certificates.values() for certificate in group]
        self._tell(self._expiry.due(served, datetime.now(UTC)))

    def _let_settle(self, changed: Sequence[Kept[Any]]) -> None:
        paths = [path for kept in changed for path in kept.paths()]
        before = digest_of(paths)
        for _ in range(_SETTLE_ATTEMPTS):
            time.sleep(_SETTLE)
            after = digest_of(paths)
            if after == before:
                return
            before = after

    def _renew(self, changed: Sequence[Kept[Any]]) -> None:
        """Serve the candidates, all of them in one swap."""
        inventory, context = self._inventory, self._check_alive()
        loaded = [kept for kept in inventory.certificates.values() if kept.candidate is not None]
        trust = inventory.trust
        trusted = None if trust is None else trust.candidate or trust.value
        kept_secret = inventory.secret
        secret = None if kept_secret is None else kept_secret.candidate or kept_secret.value
        new_secret = kept_secret is not None and secret != kept_secret.value
        new_trust = trust is not None and trust.candidate is not None and trust.candidate != trust.value
        try:
            prepared = context.prepare(
                inventory.by_name(candidates=True),
                client_ca=None if trusted is None else trusted.authorities,
                client_crl=None if trusted is None else trusted.crls,
                ticket_secret=None if secret is None else secret.data,
            )
        except ASGITLSError as error:
            for kept in changed:
                if kept.candidate is not None:
                    kept.refuse(error)
            return

        self._in_loop(lambda: context.swap(prepared))
        for kept in changed:
            kept.accept()
        self._tell([loaded_event(kept.value) for kept in loaded if kept.value is not None])
        if new_trust and trust is not None:
            logger.info("clients are verified with %s anew; sessions of before are not resumed", trust.name)
        if new_secret:
            logger.info("the ticket secret is another one; sessions of before are not resumed")

    def _report(self, kept: Kept[Any], *, forced: bool) -> None:
        error = kept.error
        if error is None or kept.reported == str(error):
            return
        if forced or time.monotonic() - kept.failing_since >= GRACE:
            kept.reported = str(error)
            self._tell([ReloadFailedEvent(source=kept.name, code=error.code, msg=str(error))])

    def _tell(self, events: Sequence[Event]) -> None:
        for event in events:
            self._in_loop(lambda event=event: self._listener(event))  # type: ignore[misc]

    def _in_loop(self, action: Callable[[], None]) -> None:
        if self._loop is None:
            action()
            return
        try:
            self._loop.call_soon_threadsafe(action)
        except RuntimeError:  # it has been closed since
            raise _Over from None


class _Over(Exception):  # noqa: N818 -- no error: whom the thread worked for is gone
    pass


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop that runs in this thread."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def loaded_event(certificate: Certificate) -> CertificateLoadedEvent:
    """The event for a certificate that is served from now on."""
    return CertificateLoadedEvent(
        source=certificate.source,
        subject_alt_names=certificate.subject_alt_names,
        not_after=certificate.not_after,
        fingerprint_sha256=certificate.fingerprint_sha256,
    )


class _DirectoryWatch:
    """Calls back when something happens in a directory of one of the files; does nothing without `watchfiles`.

    Directories, since a watch on a file follows the file: it goes silent when a link is turned elsewhere, as Kubernetes
    does. A directory that is put in the place of another is noticed by its inode.
    """

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._watched: dict[Path, int] = {}
        self._stop = threading.Event()

    def __enter__(self) -> _DirectoryWatch:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()

    def update(self, paths: Sequence[Path]) -> None:
        """Watch the directories of these files from now on, where they are others than before."""
        directories = _directories(paths)
        if directories == self._watched:
            return
        self._stop.set()
        self._watched, self._stop = directories, threading.Event()
        if directories:
            arguments = (tuple(directories), self._stop)
            threading.Thread(target=self._run, args=arguments, name="asgi_tls-watch", daemon=True).start()

    def _run(self, directories: Sequence[Path], stop: threading.Event) -> None:
        try:
            from watchfiles import watch
        except ImportError:
            return
        try:
            # Each step is a moment in which the interpreter is woken, so they are long ones.
            for _ in watch(
                *directories, watch_filter=None, recursive=False, stop_event=stop,
                debounce=400, step=100, rust_timeout=60_000, raise_interrupt=False,
            ):  # fmt: skip
                self._on_change()
        except Exception as error:  # noqa: BLE001 -- no watch left, a directory that is gone: polling goes on
            logger.debug("watching %s ended: %s", ", ".join(map(str, directories)), error)


def _directories(paths: Sequence[Path]) -> dict[Path, int]:
    """The directories that hold the files, and those that hold what they link to, with their inodes."""
    found: dict[Path, int] = {}
    for path in paths:
        for one in (path, _resolved(path)):
            place = one if one.is_dir() else one.parent
            with contextlib.suppress(OSError):
                found[place] = place.stat().st_ino
    return found


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # links in a circle
        return path
