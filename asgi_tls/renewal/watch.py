"""Events of the file system, where `watchfiles` is installed: a change is seen before the next look is due.

Directories are watched, since a watch on a file follows the file: it goes silent when a link is turned elsewhere, as
Kubernetes does.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from asgi_tls.certificate import PEMDirectory
from asgi_tls.renewal.inventory import Item
from asgi_tls.renewal.stamps import Status

logger = logging.getLogger("asgi_tls")

# Milliseconds after which a watch looks whether it is to end: each is a moment in which the interpreter is woken.
_STEP: Final = 100
_LAST_STEPS: Final = 1.0  # seconds, for all of a busy machine

_Directories: TypeAlias = dict[Path, int]
"""With their inodes: one that is put in the place of another is another."""

_threads: Final[dict[threading.Thread, threading.Event]] = {}
"""Those that are in `watchfiles` now, and what ends each."""


@atexit.register
def _end_all() -> None:
    """While CPython ends, a thread that comes back to it is ended as well: inside watchfiles before 1.3 that aborts the
    process.
    """
    threads = [*_threads.items()]
    for _, stop in threads:
        stop.set()
    for thread, _ in threads:
        thread.join(_LAST_STEPS)


def load_watchfiles() -> None:
    """Import `watchfiles` where it is installed. Called before there is a thread: a process that is forked while a
    thread imports has that module's lock for ever, and gunicorn's workers import some of the same modules.
    """
    with contextlib.suppress(ImportError):
        import watchfiles  # noqa: F401


class DirectoryWatch:
    """Calls back when something happens in a directory of one of the files."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._seen: dict[Item[object], tuple[Status, _Directories]] = {}
        self._watched: _Directories = {}
        self._stop = threading.Event()

    def __enter__(self) -> DirectoryWatch:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()

    def update(self, items: Iterable[Item[object]], directory: PEMDirectory | None) -> None:
        """Watch the directories of these items' files from now on, and `directory`."""
        seen = {}
        for item in items:
            known = self._seen.get(item)
            # Links are followed again only when they lead elsewhere by now: that takes ten times as long as a look.
            if known is None or known[0] != item.stamp.status:
                known = item.stamp.status, _directories(item.files)
            seen[item] = known
        self._seen = seen
        wanted = {path: inode for _, directories in seen.values() for path, inode in directories.items()}
        if directory is not None:
            wanted |= _directories([Path(directory.path)])
        if wanted != self._watched:
            self._watch(wanted)

    def _watch(self, directories: _Directories) -> None:
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
            _threads[threading.current_thread()] = stop
            for _ in watch(
                *directories, watch_filter=None, recursive=False, stop_event=stop,
                debounce=400, step=_STEP, rust_timeout=60_000, raise_interrupt=False,
            ):  # fmt: skip
                self._on_change()
        except Exception as error:  # noqa: BLE001 -- no watch left, a directory that is gone: polling goes on
            logger.debug("watching %d directories failed: %s", len(directories), error)
        finally:
            _threads.pop(threading.current_thread(), None)


def _directories(paths: Iterable[Path]) -> _Directories:
    """The directories that hold the files, and those that hold what they link to."""
    found: _Directories = {}
    for path in paths:
        for one in (path, _resolved(path)):
            place = one if os.path.isdir(one) else one.parent  # noqa: PTH112 -- which fails where this user may not look
            with contextlib.suppress(OSError):
                found[place] = place.stat().st_ino
    return found


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # links in a circle
        return path
