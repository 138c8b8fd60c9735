"""Where ACME keeps its account, its certificates and its challenges: a protocol, and a directory that implements it.

Everything that several workers, processes or hosts must agree on goes through it. A lock has a lease, so that a holder
that hangs is replaced, and a fence: a number that grows with each holder, without which nothing is written. So what a
holder writes after it was replaced is refused.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shlex
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

from asgi_tls.errors import ConfigurationError
from asgi_tls.files import DAMAGED, data_directory, lock_now, locked, make_private, read_own, replace_files

ACCOUNT: Final = "account.pem"
"""Where the account's key is."""

_KEY: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}(/[A-Za-z0-9_][A-Za-z0-9_.-]{0,199})?")
_LARGEST: Final = 1 << 20
_MOST_KEYS: Final = 10_000
_MUTEX_SECONDS: Final = 10.0
_FURTHEST: Final = 3600.0  # no lease is longer: one that ends later was written by a clock that was wrong


@dataclass(frozen=True)
class Fence:
    """What a holder of a lock shows when it writes. `handle` is the storage's own."""

    name: str
    number: int
    handle: Any = field(default=None, repr=False, compare=False)


class StaleFenceError(Exception):
    """Another holder has the lock by now: nothing was written."""


@runtime_checkable
class Storage(Protocol):
    """All methods raise OSError where the storage cannot be reached or is full. Values are at most 1 MiB.

    Keys are `account.pem`, `accounts/NAME.json`, `certificates/NAME.pem`, `certificates/NAME.json` and
    `challenges/NAME.json`. Certificates and challenges lie in `local` as well, in files of these names, from which this
    host serves them.
    """

    @property
    def local(self) -> Path:
        """The directory of this host."""

    def check(self) -> None:
        """Raise ConfigurationError where nothing can be stored."""

    def refresh(self, keys: Sequence[str]) -> None:
        """Bring what is stored under these keys to `local`, where that is another place. Called each second."""

    def load(self, key: str) -> bytes | None:
        """None where nothing is stored."""

    def keys(self, prefix: str) -> list[str]:
        """The keys that begin with it, such as `challenges/`."""

    def store(self, key: str, data: bytes, fence: Fence) -> None:
        """Raises StaleFenceError."""

    def delete(self, key: str, fence: Fence) -> None:
        """Raises StaleFenceError. A key that is not there is no error."""

    def lock(self, name: str, lease: float) -> Fence | None:
        """Take a lock for `lease` seconds. Never waits: None where somebody else holds it."""

    def extend(self, fence: Fence, lease: float) -> None:
        """Hold it for `lease` seconds from now. Raises StaleFenceError."""

    def unlock(self, fence: Fence) -> None:
        """Release it, unless somebody else holds it by now."""


@contextlib.contextmanager
def holding(storage: Storage, name: str, lease: float) -> Iterator[Fence | None]:
    """Hold a lock meanwhile; None where somebody else does. One that cannot be released ends with its lease."""
    fence = storage.lock(name, lease)
    try:
        yield fence
    finally:
        if fence is not None:
            with contextlib.suppress(OSError):
                storage.unlock(fence)


@contextlib.contextmanager
def holding_all(storage: Storage, names: Iterable[str], lease: float) -> Iterator[Sequence[Fence] | None]:
    """Hold several locks meanwhile; None where somebody else has one of them. All take them in the same order, so that
    one of two who want the same ones gets them.
    """
    fences: list[Fence] = []
    with contextlib.ExitStack() as held:
        for name in sorted(names):
            fence = held.enter_context(holding(storage, name, lease))
            if fence is None:
                break
            fences.append(fence)
        else:
            yield fences
            return
    yield None


def default_directory() -> Path:
    """`acme` in systemd's STATE_DIRECTORY, else in the user's directory for data. Raises ConfigurationError."""
    given = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return (Path(given) if given else data_directory()) / "acme"


@dataclass(frozen=True)
class DirectoryStorage:
    """A directory that this host, or several by a network file system with locks, keep everything in.

    Directories have mode 0700, files 0600. It must not be writable by other users; the directory itself may be by its
    group, as the root of a volume in Kubernetes is.
    """

    path: Path = field(default_factory=default_directory)

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path).absolute())

    def __str__(self) -> str:
        return str(self.path)

    @property
    def local(self) -> Path:
        return self.path

    def check(self) -> None:
        probe = {".probe": (b"", 0o600)}
        parts = [self.path / part for part in ("accounts", "certificates", "challenges", "locks")]
        try:
            for part in parts:
                make_private(part)
                replace_files(part, probe)
                (part / ".probe").unlink()
            self._refuse_writers(self.path, 0o002)
            for part in parts:
                self._refuse_writers(part, 0o022)
        except OSError as error:
            user = f"the user {os.geteuid()}" if hasattr(os, "geteuid") else "this user"
            raise ConfigurationError(
                f"the ACME storage {self.path} cannot be written: {error.strerror}",
                fix=f"Let {user} own it (chown -R), or set {{acme_storage}} to another directory. It must be kept when "
                "the server is installed again: in a container, on a volume.",
                settings=("acme_storage",),
            ) from None

    def _refuse_writers(self, directory: Path, bits: int) -> None:
        mode = stat.S_IMODE(directory.stat().st_mode)
        if os.name == "posix" and mode & bits:
            raise ConfigurationError(
                f"the ACME storage {directory} can be written by others (mode {mode:04o})",
                fix=f"chmod -R go-w {shlex.quote(str(self.path))}",
                settings=("acme_storage",),
            )

    def refresh(self, keys: Sequence[str]) -> None:
        pass

    def load(self, key: str) -> bytes | None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return read_own(self._path(key), _LARGEST)
        return None

    def keys(self, prefix: str) -> list[str]:
        folder, _, beginning = prefix.rpartition("/")
        directory = self.path / folder if folder else self.path
        found: list[str] = []
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(directory) as entries:
            for entry in entries:
                key = f"{folder}/{entry.name}" if folder else entry.name
                if entry.name.startswith(beginning) and _KEY.fullmatch(key) and entry.is_file(follow_symlinks=False):
                    found.append(key)
                if len(found) >= _MOST_KEYS:
                    break
        return sorted(found)

    def store(self, key: str, data: bytes, fence: Fence) -> None:
        path = self._path(key)
        with self._held_by(fence):
            make_private(path.parent)
            replace_files(path.parent, {path.name: (data, 0o600)})

    def delete(self, key: str, fence: Fence) -> None:
        with self._held_by(fence):
            self._path(key).unlink(missing_ok=True)

    def lock(self, name: str, lease: float) -> Fence | None:
        with self._mutex():
            number, until = self._lease(name)
            if time.time() < until < time.time() + _FURTHEST and not self._is_dead(name, number):
                return None
            alive = lock_now(self._alive(name, number + 1))
            fence = Fence(name, number + 1, [] if alive is None else [alive])
            try:
                self._write(fence, time.time() + lease)
            except BaseException:
                if alive is not None:
                    os.close(alive)
                raise
            self._alive(name, number).unlink(missing_ok=True)
            return fence

    def extend(self, fence: Fence, lease: float) -> None:
        with self._held_by(fence):
            self._write(fence, time.time() + lease)

    def unlock(self, fence: Fence) -> None:
        try:
            with contextlib.suppress(StaleFenceError), self._held_by(fence):
                self._write(fence, 0.0)
        finally:
            if fence.handle:
                os.close(fence.handle.pop())  # once: the number may be another file's by then
            with contextlib.suppress(OSError):
                self._alive(fence.name, fence.number).unlink(missing_ok=True)

    @contextlib.contextmanager
    def _mutex(self) -> Iterator[None]:
        """For a moment, against all other processes: a dead one releases it."""
        make_private(self.path / "locks")
        with locked(self.path / "locks/mutex", _MUTEX_SECONDS) as held:
            if not held:
                raise OSError(errno.EAGAIN, "another process holds it for too long", str(self.path / "locks/mutex"))
            yield

    @contextlib.contextmanager
    def _held_by(self, fence: Fence) -> Iterator[None]:
        with self._mutex():
            if self._lease(fence.name)[0] != fence.number:
                raise StaleFenceError(fence.name)
            yield

    def _lease(self, name: str) -> tuple[int, float]:
        """The number of the last holder, and until when it holds the lock."""
        with contextlib.suppress(FileNotFoundError, *DAMAGED):
            values = json.loads(read_own(self.path / f"locks/{name}.json", 4096))
            return int(values["fence"]), float(values["until"])
        return 0, 0.0

    def _write(self, fence: Fence, until: float) -> None:
        text = json.dumps({"fence": fence.number, "until": until})
        replace_files(self.path / "locks", {f"{fence.name}.json": (text.encode("ascii"), 0o600)})

    def _is_dead(self, name: str, number: int) -> bool:
        """Whether the holder's process has ended: nobody has its file locked."""
        path = self._alive(name, number)
        if not path.exists():
            return False  # of another host, whose file system shows it later
        descriptor = lock_now(path)
        if descriptor is None:
            return False
        os.close(descriptor)
        return True

    def _alive(self, name: str, number: int) -> Path:
        return self.path / f"locks/{name}.{number}.alive"

    def _path(self, key: str) -> Path:
        return self.path / checked_key(key)


def checked_key(key: str) -> str:
    """The key, if it is one: it becomes the name of a file. Raises ValueError."""
    if _KEY.fullmatch(key) is None:
        raise ValueError(f"not a key of this storage: {key!r}")
    return key
