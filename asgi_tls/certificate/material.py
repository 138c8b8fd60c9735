"""Key material as bytes, and its origin: read once, within a size limit, and never from a pipe or a device."""

from __future__ import annotations

import errno
import os
import shlex
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from asgi_tls.certificate.access import refusal
from asgi_tls.errors import (
    CertificateError,
    EmptyFileError,
    MissingFileError,
    TooManyOpenFilesError,
    UnreadableFileError,
)
from asgi_tls.events import Notice
from asgi_tls.files import others_with_access, read_regular

_E = TypeVar("_E", bound=CertificateError)

# A chain of five RSA-4096 certificates takes 12 KiB; the bundle of every public root takes 220 KiB.
MAX_SIZE = 1 << 20

DENIED = "Let the server's user {do}, or start the server as a user who may."


@dataclass(frozen=True)
class Material:
    """The bytes read. `role` is 'certificate', 'key' or 'password'; `mode` and `links` are those of a file."""

    role: str
    data: bytes = field(repr=False)
    path: Path | None = None
    mode: int | None = None
    links: int = 1

    def error(self, kind: type[_E], problem: str, fix: str, *settings: str) -> _E:
        """An error that names the file, or the argument when there is no file. `settings` are those in its text."""
        if self.path is None:
            problem = f"the {self.role} given in memory {problem}"
        return kind(problem, fix=fix, path=self.path, settings=settings)

    def open_to_others(self, what: str) -> tuple[Notice, ...]:
        """A warning if other users can read it or write to it. `what` names the secret in it."""
        who = others_with_access(self.mode)
        text = f"{self.name}: the {what} is open to {who} (mode {self.mode:04o}); chmod 0600"
        return (Notice("open-file", text),) if who else ()

    @property
    def stale(self) -> tuple[Notice, ...]:
        """A warning if the file was deleted or replaced where it is mounted from, which a mount of one file hides."""
        if self.links > 0:
            return ()
        text = f"{self.name}: was replaced or deleted outside of this mount (link count 0); mount its directory"
        return (Notice("stale-mount", text),)

    @property
    def name(self) -> str:
        """The file as a shell command would name it."""
        return self.role if self.path is None else shlex.quote(str(self.path))


def read_material(path: Path, role: str, *, denied: str = DENIED) -> Material:
    """Read a regular file of at most `MAX_SIZE` bytes. `denied` is the advice to give when permission is missing;
    `{do}` in it becomes what to let this user do, with the command.

    Raises MissingFileError, UnreadableFileError or EmptyFileError. A FIFO, a socket or a device is refused unread.
    """
    try:
        data, status = read_regular(path, MAX_SIZE + 1)
    except (OSError, ValueError) as error:
        raise _cannot_read(path, role, error, denied) from error
    if len(data) > MAX_SIZE:
        raise UnreadableFileError(
            f"is larger than {MAX_SIZE >> 20} MiB, too large for a {role}", fix="Check the path.", path=path
        )
    if not data.strip():
        raise EmptyFileError(
            "is empty", fix=f"Write the {role} again; a full disk or an interrupted copy leaves empty files.", path=path
        )
    return Material(role, data, path, stat.S_IMODE(status.st_mode), status.st_nlink)


def _cannot_read(path: Path, role: str, error: OSError | ValueError, denied: str) -> CertificateError:
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return _missing(path, role)
    if isinstance(error, IsADirectoryError) or (os.name == "nt" and path.is_dir()):
        return UnreadableFileError("is a directory", fix="Name the file inside it.", path=path)
    if isinstance(error, OSError) and error.errno == errno.ENXIO:  # a socket cannot be opened at all
        fix = "Use a regular file: it is read again at each renewal."
        return UnreadableFileError("is a pipe, a socket or a device", fix=fix, path=path)
    if isinstance(error, ValueError):
        return UnreadableFileError("cannot be read: not a valid file name", fix="Check the path.", path=path)
    return unreadable(error, path, role, denied)


def unreadable(error: OSError, path: Path, role: str, denied: str = DENIED) -> UnreadableFileError:
    """The error for a file or directory that is there and cannot be read."""
    if isinstance(error, PermissionError):
        why, do = refusal(path)
        return UnreadableFileError(
            f"permission denied to read the {role}{why}", fix=denied.replace("{do}", do), path=path
        )
    return out_of_descriptors(error, path) or UnreadableFileError(
        f"cannot be read: {error.strerror}", fix="Check the path.", path=path
    )


def of_source(name: str, error: Exception) -> CertificateError:
    """For what a source should not have raised. Its type alone is named: what it says may hold anything, a key too."""
    failure: CertificateError | None = out_of_descriptors(error) if isinstance(error, OSError) else None
    if failure is None:
        problem = f"{name}: loading failed: {type(error).__name__}"
        failure = CertificateError(problem, fix="Make the source raise a CertificateError that says why.")
    failure.__cause__ = error
    return failure


def out_of_descriptors(error: OSError, path: Path | None = None) -> TooManyOpenFilesError | None:
    """The error where there was no descriptor left: the file may be fine. None for any other reason."""
    limits = {errno.EMFILE: "this process", errno.ENFILE: "the system"}
    if error.errno not in limits:
        return None
    return TooManyOpenFilesError(
        f"cannot be opened: {limits[error.errno]} has reached the limit of open files",
        fix="Raise the limit (systemd: LimitNOFILE=, shell: ulimit -n), or accept fewer connections.",
        path=path,
    )


def _missing(path: Path, role: str) -> MissingFileError:
    problem = "no such file"
    if path.is_symlink():
        problem = f"is a symbolic link to {path.readlink()}, which does not exist"
    elif not path.is_absolute():
        problem = f"no such file in the working directory {_working_directory()}"
    other = ", or make a development certificate: `asgi-tls cert localhost`" if role in {"certificate", "key"} else ""
    return MissingFileError(problem, fix=f"Check the path{other}.", path=path)


def _working_directory() -> str:
    try:
        return str(Path.cwd())
    except OSError:
        return "(deleted)"
