"""OCSP responses on disk, by certificate: for all workers of a host, and for the next start.

A directory of this user's own holds three files for each certificate: the response, the outcome of the last attempt to
fetch one, and a lock. A response that is read is verified like a fresh one, so a damaged file costs one more fetch.
Without a directory that can be trusted and written, each worker fetches for itself, and one warning says so.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import re
import stat
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, get_args

from asgi_tls.errors import ConfigurationError
from asgi_tls.events import StaplingStatus
from asgi_tls.files import DAMAGED, check_directory, locked, make_private, read_own, replace_files, user_directory

logger = logging.getLogger("asgi_tls")

_MAX_SIZE: Final = 64 << 10
# Nobody asks about a certificate for longer than it is valid.
_FORGOTTEN: Final = 400 * 86400.0
# The files of a certificate, by its fingerprint, and drafts of them that a process left behind.
_OURS: Final = re.compile(r"[0-9a-f]{64}\.(?:der|json|lock)|\.[0-9a-f]{64}\.(?:der|json)-\w+")
_STATUSES: Final = frozenset(get_args(StaplingStatus))


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """The last fetch, if it failed. Times are seconds since the epoch."""

    status: StaplingStatus
    msg: str
    failures: int
    at: float
    again_at: float


def cache_directory() -> Path | None:
    """systemd's CACHE_DIRECTORY, or `asgi-tls/ocsp` in the user's directory for caches; None without a home."""
    given = os.environ.get("CACHE_DIRECTORY", "").partition(":")[0]
    if given:
        return Path(given) / "ocsp"
    with contextlib.suppress(ConfigurationError):
        return user_directory("cache") / "asgi-tls" / "ocsp"
    return None


class Cache:
    """The responses in `directory`, by default `cache_directory()`. Nothing is made before something is stored."""

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = cache_directory() if directory is None else directory
        self._writable: bool | None = None
        self._warned = False

    def response(self, fingerprint: str) -> bytes | None:
        """The stored response for a certificate."""
        return self._read(f"{fingerprint}.der")

    def attempt(self, fingerprint: str) -> Attempt | None:
        """The last fetch, if it failed."""
        data = self._read(f"{fingerprint}.json")
        return None if data is None else _parse(data)

    def store(self, fingerprint: str, response: bytes) -> None:
        """Store a good response, and forget earlier failures."""
        self._write(f"{fingerprint}.der", response)
        self._remove(f"{fingerprint}.json")

    def fail(self, fingerprint: str, attempt: Attempt, *, drop: bool) -> None:
        """Store a failure. With `drop`, delete the stored response."""
        if drop:
            self._remove(f"{fingerprint}.der")
        self._write(f"{fingerprint}.json", json.dumps(asdict(attempt)).encode())

    @contextlib.contextmanager
    def locked(self, fingerprint: str, timeout: float) -> Iterator[None]:
        """Hold the lock of a certificate against other processes and threads, after at most `timeout` seconds."""
        with contextlib.ExitStack() as stack:
            if (directory := self._usable()) is not None:
                with contextlib.suppress(OSError):
                    stack.enter_context(locked(directory / f"{fingerprint}.lock", timeout))
            yield

    def _usable(self) -> Path | None:
        """The directory, if only this user can write to it. Checked once, and created if it is missing."""
        directory = self._directory
        if directory is None:
            self._warn("this user has no home directory")
        elif self._writable is None:
            try:
                make_private(directory)
                check_directory(directory)
                with tempfile.TemporaryFile(dir=directory):
                    self._writable = True
                _forget(directory)
            except OSError as error:
                self._writable = False
                self._warn(f"{directory}: {error.strerror}")
        return directory if self._writable else None

    def _warn(self, problem: str) -> None:
        if not self._warned:
            self._warned = True
            logger.warning(
                "OCSP responses are kept in memory only: each worker fetches its own, and the first clients after a "
                "start get none. %s. Set XDG_CACHE_HOME, or CacheDirectory= in the systemd unit.", problem,
            )  # fmt: skip

    def _read(self, name: str) -> bytes | None:
        if self._directory is None:
            return None
        try:
            check_directory(self._directory)
            return read_own(self._directory / name, _MAX_SIZE) or None
        except PermissionError as error:
            self._warn(f"{error.filename}: {error.strerror}")
        except OSError:
            pass
        return None

    def _write(self, name: str, data: bytes) -> None:
        if (directory := self._usable()) is not None:
            try:
                replace_files(directory, {name: (data, 0o600)})
            except OSError as error:
                logger.warning("cannot store the OCSP response: %s: %s", directory, error.strerror)

    def _remove(self, name: str) -> None:
        if (directory := self._usable()) is not None:
            with contextlib.suppress(OSError):
                (directory / name).unlink()


def _forget(directory: Path) -> None:
    """Delete our own files of certificates that have long expired."""
    now = time.time()
    for path in directory.iterdir():
        with contextlib.suppress(OSError):
            status = path.lstat()
            if _OURS.fullmatch(path.name) and stat.S_ISREG(status.st_mode) and now - status.st_mtime > _FORGOTTEN:
                path.unlink()


def _parse(data: bytes) -> Attempt | None:
    """None for anything that `Cache.fail` did not write."""
    with contextlib.suppress(*DAMAGED):
        values = json.loads(data)
        at, again_at, failures = float(values["at"]), float(values["again_at"]), int(values["failures"])
        if values["status"] in _STATUSES and failures > 0 and math.isfinite(at) and math.isfinite(again_at):
            msg = str(values["msg"])
            return Attempt(status=values["status"], msg=msg, failures=failures, at=at, again_at=again_at)
    return None
