"""OCSP responses on disk, by certificate: for all workers of a host, and for the next start.

A directory of this user's own holds three files for each certificate: the response, what came of the last attempt to
fetch one, and a lock. Whatever is read is judged like a fresh response, so a damaged file costs one more fetch. Without
a directory that can be written, each worker fetches for itself, and one warning says so.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, get_args

from asgi_tls.events import StaplingStatus

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger("asgi_tls")

_MAX_SIZE: Final = 64 << 10
_POLL: Final = 0.05
# Nobody asks about a certificate for longer than it is valid.
_FORGOTTEN: Final = 400 * 86400.0
_STATUSES: Final = frozenset(get_args(StaplingStatus))


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What came of the last fetch that brought nothing good. Times are seconds since the epoch."""

    status: StaplingStatus
    msg: str
    failures: int
    at: float
    again_at: float


def cache_directory() -> Path | None:
    """systemd's CACHE_DIRECTORY, or `asgi-tls/ocsp` in the platform's directory for caches; None without a home."""
    given = os.environ.get("CACHE_DIRECTORY", "").partition(":")[0]
    if given:
        return Path(given) / "ocsp"
    try:
        if sys.platform == "win32":
            base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
        elif sys.platform == "darwin":
            base = Path.home() / "Library" / "Caches"
        else:
            # The XDG base directory specification: a relative path is to be ignored.
            configured = Path(os.environ.get("XDG_CACHE_HOME", ""))
            base = configured if configured.is_absolute() else Path.home() / ".cache"
    except RuntimeError:
        return None
    return base / "asgi-tls" / "ocsp"


class Cache:
    """The responses in `directory`, by default `cache_directory()`. Nothing is made before something is stored."""

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = cache_directory() if directory is None else directory
        self._writable: bool | None = None

    def response(self, fingerprint: str) -> bytes | None:
        """What was stored for a certificate."""
        return self._read(f"{fingerprint}.der")

    def attempt(self, fingerprint: str) -> Attempt | None:
        """What came of the last fetch, None where it was good or there was none."""
        with contextlib.suppress(ValueError, TypeError):
            found = Attempt(**json.loads(self._read(f"{fingerprint}.json") or b"null"))
            numbers = (found.failures, found.at, found.again_at)
            if found.status in _STATUSES and all(isinstance(each, (int, float)) for each in numbers):
                return found
        return None

    def store(self, fingerprint: str, response: bytes) -> None:
        """A good response: the failures before it are forgotten."""
        self._write(f"{fingerprint}.der", response)
        self._remove(f"{fingerprint}.json")

    def fail(self, fingerprint: str, attempt: Attempt, *, drop: bool) -> None:
        """A failure; with `drop`, what was stored is void."""
        if drop:
            self._remove(f"{fingerprint}.der")
        self._write(f"{fingerprint}.json", json.dumps(asdict(attempt)).encode())

    @contextlib.contextmanager
    def locked(self, fingerprint: str, timeout: float) -> Iterator[None]:
        """Hold the lock of a certificate that other processes and threads wait for, `timeout` seconds at most."""
        descriptor = self._lock_file(fingerprint)
        if descriptor is None:
            yield
            return
        try:
            end = time.monotonic() + timeout
            while not _locks(descriptor) and time.monotonic() < end:
                time.sleep(_POLL)
            yield
        finally:
            os.close(descriptor)

    def _lock_file(self, fingerprint: str) -> int | None:
        if _no_locks() or not self._usable():
            return None
        path = self._path(f"{fingerprint}.lock")
        with contextlib.suppress(OSError):
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        return None

    def _path(self, name: str) -> Path:
        assert self._directory is not None  # noqa: S101 -- `_usable` has said so
        return self._directory / name

    def _usable(self) -> bool:
        """Whether the directory is there, our own, and can be written. Asked once; it is made where it is missing."""
        if self._writable is None:
            problem = self._problem()
            self._writable = problem is None
            if problem is not None:
                logger.warning(
                    "OCSP responses are kept in memory alone, so each worker fetches its own, and the first clients "
                    "after a start get none: %s. Set XDG_CACHE_HOME, or CacheDirectory= in the systemd unit.", problem,
                )  # fmt: skip
            else:
                self._forget()
        return self._writable

    def _problem(self) -> str | None:
        directory = self._directory
        if directory is None:
            return "this user has no home directory"
        try:
            directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            directory.mkdir(mode=0o700, exist_ok=True)
            if hasattr(os, "getuid") and directory.stat().st_uid != os.getuid():
                return f"{directory} belongs to another user"
            with tempfile.TemporaryFile(dir=directory):
                return None
        except OSError as error:
            return f"{directory}: {error.strerror}"

    def _forget(self) -> None:
        now = time.time()
        for path in self._path("").iterdir():
            with contextlib.suppress(OSError):
                if now - path.stat().st_mtime > _FORGOTTEN:
                    path.unlink()

    def _read(self, name: str) -> bytes | None:
        if self._directory is None:
            return None
        try:
            with (self._directory / name).open("rb") as file:
                data = file.read(_MAX_SIZE + 1)
        except OSError:
            return None
        return data if 0 < len(data) <= _MAX_SIZE else None

    def _write(self, name: str, data: bytes) -> None:
        """By a rename: no reader sees a part, and of two writers one has the last word."""
        if not self._usable():
            return
        try:
            descriptor, draft = tempfile.mkstemp(prefix=".", dir=self._directory)  # mode 0600
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(data)
                Path(draft).replace(self._path(name))
            except OSError:
                Path(draft).unlink(missing_ok=True)
                raise
        except OSError as error:
            logger.warning("an OCSP response cannot be kept on disk: %s: %s", self._directory, error.strerror)

    def _remove(self, name: str) -> None:
        if self._usable():
            with contextlib.suppress(OSError):
                self._path(name).unlink()


def _locks(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _no_locks() -> bool:
    return fcntl is None
