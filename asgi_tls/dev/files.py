"""Where development material lives, and how it is written: private, whole, and by one process at a time."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from asgi_tls.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def data_directory() -> Path:
    """`$ASGI_TLS_HOME`, or `asgi-tls` in the platform's directory for a user's data. It need not exist."""
    home = os.environ.get("ASGI_TLS_HOME")
    if home:
        return Path(home)
    return _platform_directory() / "asgi-tls"


def _platform_directory() -> Path:
    try:
        if sys.platform == "win32":
            return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Application Support"
        # The XDG base directory specification: a relative path is to be ignored.
        configured = Path(os.environ.get("XDG_DATA_HOME", ""))
        return configured if configured.is_absolute() else Path.home() / ".local" / "share"
    except RuntimeError:  # a user without a home
        raise ConfigurationError("this user has no home directory", fix="Set ASGI_TLS_HOME to a directory.") from None


def make_private(directory: Path) -> None:
    """Make `directory` and what leads to it, for this user alone. One that exists keeps its mode."""
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)


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
    """Replace each file by a rename, in the order given, after all of them have been written to the disk."""
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


def _write(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    path.chmod(mode)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock that other processes and threads wait for. The system frees it when its holder dies.

    Without `fcntl` (Windows) there is no lock: two processes that issue for the same names at once may leave a key
    beside another certificate, which the next `issue` notices and makes good.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
