"""The directory in which workers share their metrics, so that whichever is asked answers for all.

prometheus_client keeps the numbers of each process in files that are named by its pid, and those of processes that have
ended count as well: with each worker that starts, the directory would grow. So in a directory that was made here, a
process has the lowest number that no running one has, and goes on with the files of the one that had it before.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from asgi_tls.files import HAS_LOCKS, lock_now, temporary_directory

if TYPE_CHECKING:
    from prometheus_client import Metric

MULTIPROCESS: Final = "PROMETHEUS_MULTIPROC_DIR"
_PREFIX: Final = "asgi-tls-metrics-"


def share() -> None:
    """Make the directory, unless the user has chosen one.

    prometheus_client looks for the variable when it is imported, and workers inherit it.
    """
    # gunicorn's previous arbiter (SIGUSR2) removes the one that it made.
    if MULTIPROCESS not in os.environ or ("GUNICORN_FD" in os.environ and _made_here()):
        os.environ[MULTIPROCESS] = temporary_directory(_PREFIX)


def hand_over(uid: int, gid: int) -> None:
    """Before workers of another user start: the directory that was made for metrics becomes theirs."""
    if _made_here() and uid != os.geteuid():
        os.chown(os.environ[MULTIPROCESS], uid, gid)


def use_numbers() -> None:
    """Before the first metric is made: name the files by a number instead of the pid, in a directory made here."""
    if _made_here() and HAS_LOCKS:
        from prometheus_client import values

        values.ValueClass = values.MultiProcessValue(lambda: _name_of(os.getpid()))  # type: ignore[no-untyped-call]


class AllWorkers:
    """What all workers have counted, for a registry of prometheus_client."""

    def collect(self) -> Iterator[Metric]:
        """The sums. Without files that a worker has made and not filled yet, and names that are served no more."""
        from prometheus_client.multiprocess import MultiProcessCollector

        directory = Path(os.environ[MULTIPROCESS])
        _forget_the_ended(directory)
        files = [str(path) for path in directory.glob("*.db") if _size(path)]
        for metric in MultiProcessCollector.merge(files):  # type: ignore[no-untyped-call]
            if metric.name.startswith("asgi_tls_"):
                metric.samples = [each for each in metric.samples if not math.isnan(each.value)]
            yield metric


@functools.lru_cache(maxsize=1)
def _name_of(_pid: int) -> str:
    """This process's, which a fork does not have. Its lock is held as long as the process runs."""
    directory = Path(os.environ[MULTIPROCESS])
    for number in itertools.count():
        lock = directory / f"worker-{number}.lock"
        try:
            if lock_now(lock) is not None:
                _forget(directory, lock.stem)
                return lock.stem
        except PermissionError:  # that of another user, as whom the workers ran before a SIGHUP
            if not lock.exists():
                raise
    raise AssertionError


def _forget_the_ended(directory: Path) -> None:
    for path in directory.glob("worker-*.lock"):
        with contextlib.suppress(OSError):
            if (descriptor := lock_now(path)) is not None:
                try:
                    _forget(directory, path.stem)
                finally:
                    os.close(descriptor)


def _forget(directory: Path, name: str) -> None:
    """What a process that has ended said of the present, such as which names it serves."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(name, str(directory))  # type: ignore[no-untyped-call]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _made_here() -> bool:
    """Whether it was not the user who chose the directory."""
    return Path(os.environ.get(MULTIPROCESS, "")).name.startswith(_PREFIX)
