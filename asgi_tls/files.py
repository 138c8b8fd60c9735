"""Files and directories of our own: where they are, who may have written them, and how they are read and written.

What lies in them steers a server (a CA's key, an OCSP response, metrics), so nothing is taken from where somebody else
can write, nothing is read without a limit, and nothing that blocks is opened. What is written appears whole or not at
all. Everything here raises OSError; where a file is not to be trusted that is a PermissionError whose `strerror` says
why.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Literal

from asgi_tls.errors import ConfigurationError

try:
    import fcntl
except ImportError:
    HAS_LOCKS = False  # Windows
else:
    HAS_LOCKS = True

# O_NONBLOCK: opening a FIFO to read waits for a writer otherwise. O_BINARY exists on Windows alone.
_READ: Final = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))
_POLL: Final = 0.05


def user_directory(kind: Literal["cache", "config", "data"]) -> Path:
    """This user's directory for data of that kind, on each platform: below it each program has one of its own.

    Raises ConfigurationError for a user who has none.
    """
    import platformdirs

    try:
        found = Path(getattr(platformdirs, f"user_{kind}_dir")())
    except RuntimeError:
        found = Path()
    if not found.is_absolute():
        variable = f"XDG_{kind.upper()}_HOME"
        raise ConfigurationError("this user has no home directory", fix=f"Set HOME or {variable} to an absolute path.")
    return found


def data_directory() -> Path:
    """`$ASGI_TLS_HOME`, or `asgi-tls` in the user's directory for data. It need not exist.

    Raises ConfigurationError.
    """
    return Path(os.environ.get("ASGI_TLS_HOME") or user_directory("data") / "asgi-tls")


def read_regular(path: Path, limit: int, *, flags: int = 0) -> tuple[bytes, os.stat_result]:
    """Up to `limit` bytes of a regular file, and what fstat says of it. A directory, a pipe or a device is an OSError.

    `flags` are added to those of `os.open`.
    """
    descriptor = os.open(path, _READ | flags)
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, "is a directory", str(path))
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.ENXIO, "is a pipe, a socket or a device", str(path))
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(limit), status
    finally:
        os.close(descriptor)


def read_own(path: Path, limit: int) -> bytes:
    """A file of `limit` bytes at most that is no link, and that nobody but this user and root can have written."""
    try:
        data, status = read_regular(path, limit + 1, flags=getattr(os, "O_NOFOLLOW", 0))
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise PermissionError(errno.EPERM, "is a symbolic link", str(path)) from None
        raise
    _check_owner(path, status)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"is larger than {limit} bytes", str(path))
    return data


def check_directory(path: Path) -> None:
    """Raise OSError unless this is a directory in which only this user and root can write."""
    status = path.stat()
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, "is not a directory", str(path))
    _check_owner(path, status)


def make_private(directory: Path) -> None:
    """Make `directory` and what leads to it, for this user alone. One that exists keeps its mode."""
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)


def others_with_access(mode: int | None) -> str | None:
    """Who else may read or write a file of this mode: "everyone" or "its group"; None for nobody, and on Windows."""
    if os.name != "posix" or mode is None or not mode & 0o077:
        return None
    return "everyone" if mode & 0o007 else "its group"


def publish_directory(target: Path, files: Mapping[str, tuple[bytes, int]]) -> bool:
    """Make the directory `target` with `files` (contents and mode), all at once. False: it was there already.

    The files are written into a directory beside it, which is then renamed: a rename onto a directory that holds
    anything fails, so of several processes exactly one succeeds, and no reader ever sees a part.
    """
    draft = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))  # mode 0700
    try:
        for name, (data, mode) in files.items():
            _write(draft / name, data, mode)
        try:
            draft.rename(target)
        except OSError:
            if target.is_dir():
                return False
            raise
        return True
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def replace_files(directory: Path, files: Mapping[str, tuple[bytes, int]]) -> None:
    """Replace each file (contents and mode) by a rename, in the order given, once all of them are on the disk."""
    drafts: dict[Path, Path] = {}
    try:
        for name, (data, mode) in files.items():
            descriptor, draft = tempfile.mkstemp(prefix=f".{name}-", dir=directory)
            os.close(descriptor)
            drafts[directory / name] = Path(draft)
            _write(Path(draft), data, mode)
        for target, path in drafts.items():
            path.replace(target)
    finally:
        for path in drafts.values():
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(path: Path, timeout: float = math.inf) -> Iterator[bool]:
    """Hold a lock that other processes and threads wait for; False when `timeout` seconds were not enough.

    The system frees it when its holder dies. Without `fcntl` (Windows) there is no lock.
    """
    flags = os.O_RDWR | os.O_CREAT | sum(getattr(os, name, 0) for name in ("O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK"))
    descriptor = os.open(path, flags, 0o600)
    try:
        end = time.monotonic() + timeout
        while not (held := _locks(descriptor)) and time.monotonic() < end:
            time.sleep(_POLL)
        yield held
    finally:
        os.close(descriptor)


def _locks(descriptor: int) -> bool:
    if HAS_LOCKS:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _check_owner(path: Path, status: os.stat_result) -> None:
    if os.name != "posix":
        return
    if status.st_uid not in {0, os.geteuid()}:
        raise PermissionError(errno.EPERM, f"belongs to another user (uid {status.st_uid})", str(path))
    if status.st_mode & 0o022:
        mode = stat.S_IMODE(status.st_mode)
        raise PermissionError(errno.EPERM, f"can be written by others (mode {mode:04o}; chmod go-w)", str(path))


def _write(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    path.chmod(mode)
