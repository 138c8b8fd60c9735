"""Files and directories of our own: where they are, who may have written them, how they are read and written.

Their contents control a server (the key of a CA, OCSP responses, metrics). So no file is read that another user can
write to, none without a size limit, and none that blocks. Writes are atomic. All functions raise OSError; for a file
that must not be trusted it is a PermissionError with the reason in `strerror`.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import math
import os
import shutil
import signal
import stat
import tempfile
import threading
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

DAMAGED: Final = (ValueError, TypeError, LookupError, OverflowError, RecursionError)
"""What reading JSON raises, and taking its values, where a file has something else than was written."""


def user_directory(kind: Literal["cache", "config", "data"]) -> Path:
    """The platform's directory for this user's data of that kind; each program uses a subdirectory.

    Raises ConfigurationError for a user without a home directory.
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


def expanded(path: str) -> Path:
    """With the home directory in place of `~`. Raises ConfigurationError for a user without one."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ConfigurationError(f"there is no home directory for {path!r}", fix="Write the whole path.") from None


def data_directory() -> Path:
    """`$ASGI_TLS_HOME`, or `asgi-tls` in the user's directory for data. It need not exist.

    Raises ConfigurationError.
    """
    return Path(os.environ.get("ASGI_TLS_HOME") or user_directory("data") / "asgi-tls")


def read_regular(path: Path, limit: int, *, flags: int = 0) -> tuple[bytes, os.stat_result]:
    """Up to `limit` bytes of a regular file, and its fstat result. Raises OSError for directories, pipes and devices.

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
    """A file of at most `limit` bytes that is not a link, and that only this user and root can write to."""
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
    """Raise OSError unless this is a directory that only this user and root can write to."""
    status = path.stat()
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, "is not a directory", str(path))
    _check_owner(path, status)


def make_private(directory: Path) -> None:
    """Create `directory` and its missing parents with mode 0700. Existing ones are not changed."""
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)


def others_with_access(mode: int | None) -> str | None:
    """Who else can use a secret file with this mode: "everyone", "its group" or None. Always None on Windows.

    A group may read it (0640): so a server gets a key that belongs to root or to certbot.
    """
    if os.name != "posix" or mode is None or not mode & 0o037:
        return None
    return "everyone" if mode & 0o007 else "its group"


def is_full(error: BaseException) -> bool:
    """Whether a write failed because the disk, or this user's part of it, has no space left."""
    return isinstance(error, OSError) and error.errno in {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


def replace_file(path: Path, data: bytes) -> None:
    """Write a file that anybody may read, whole or not at all. A link stays one, an existing file keeps its mode."""
    if path.exists() and not path.is_file():  # /dev/stdout
        path.write_bytes(data)
        return
    path = path.resolve()
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o644
    try:
        replace_files(path.parent, {path.name: (data, mode)})
    except OSError as error:
        if is_full(error):
            raise
        path.write_bytes(data)  # a directory that may not be changed, or a file that is mounted


def publish_directory(target: Path, files: Mapping[str, tuple[bytes, int]]) -> bool:
    """Create the directory `target` with `files` (contents and mode) atomically. False if it exists already.

    The files are written into a temporary directory beside it, which is then renamed. Renaming onto a directory that is
    not empty fails, so exactly one of several processes succeeds, and readers never see a part of the files.
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
    """Write all files (contents and mode) to temporary ones, then rename them in the order given."""
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
    """Hold a lock against other processes and threads; False if it is not free within `timeout` seconds.

    The operating system releases it when the process dies. On Windows there is no lock.
    """
    descriptor = _lock_file(path)
    try:
        end = time.monotonic() + timeout
        while not (held := _locks(descriptor)) and time.monotonic() < end:
            time.sleep(_POLL)
        yield held
    finally:
        os.close(descriptor)


def lock_now(path: Path) -> int | None:
    """A descriptor that holds a lock on the file until it is closed, or its process ends; None where another does.

    On Windows there is no lock.
    """
    descriptor, held = _lock_file(path), False
    try:
        held = _locks(descriptor)
    finally:
        if not held:
            os.close(descriptor)
    return descriptor if held else None


_temporary: Final[dict[str, int]] = {}
_IN_USE: Final = "in-use.lock"


def temporary_directory(prefix: str) -> str:
    """A new one, which is removed when this process ends, or by a later call where it was killed.

    It is in use as long as a process holds a lock on a file `*.lock` in it: this one, its forks, or others that do so.
    """
    if HAS_LOCKS:
        for other in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
            with contextlib.suppress(OSError):
                _remove_if_abandoned(other)
    draft = Path(tempfile.mkdtemp(prefix=f".{prefix}"))
    lock_now(draft / _IN_USE)
    directory = str(draft.rename(draft.with_name(draft.name[1:])))  # nobody has seen it without its lock
    remove_at_the_end(directory)
    return directory


def remove_at_the_end(directory: str) -> None:
    """When this process ends, also by SIGTERM: uvicorn stops, and then lets the signal do what it did before."""
    if not _temporary:
        atexit.register(_remove_temporary)
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, _end)
    _temporary[directory] = os.getpid()


def _remove_if_abandoned(directory: Path) -> None:
    """Where this user has made it (it may belong to the user of its workers since), and nobody holds a lock in it."""
    mark = (directory / _IN_USE).lstat()
    if not stat.S_ISDIR(directory.lstat().st_mode) or not stat.S_ISREG(mark.st_mode) or mark.st_uid != os.geteuid():
        return
    held: list[int] = []
    try:
        for path in directory.glob("*.lock"):
            if (descriptor := lock_now(path)) is None:
                return
            held.append(descriptor)
        shutil.rmtree(directory)
    finally:
        for descriptor in held:
            os.close(descriptor)


def _remove_temporary() -> None:
    for directory, owner in _temporary.items():
        if owner == os.getpid():  # not in a forked worker
            shutil.rmtree(directory, ignore_errors=True)


def _end(number: int, _frame: object) -> None:
    _remove_temporary()
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


def _lock_file(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | sum(getattr(os, name, 0) for name in ("O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK"))
    return os.open(path, flags, 0o600)


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
