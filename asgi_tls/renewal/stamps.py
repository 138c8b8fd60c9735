"""Whether files have changed: by their status, which is cheap, and by their content, which alone is certain.

Network file systems lie about modification times, and send no events. So the content is compared as well: of a few
files at each look, of thousands by turns.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from asgi_tls.certificate.material import read_material
from asgi_tls.errors import CertificateError
from asgi_tls.renewal.state import is_passing

Status: TypeAlias = tuple[tuple[int, ...], ...]

# A file that is not there, and one that this process may not look at.
_MISSING: Final = ()
_HIDDEN: Final = (-1,)


@dataclass(frozen=True)
class Stamp:
    """What files were like. `digest` is None where this process may not read one of them, or could not just then."""

    status: Status = ()
    digest: str | None = None

    def still(self, now: Stamp) -> Stamp | None:
        """What the files are like now, where that can be the same content with the same modes; None otherwise.

        What cannot be read now counts as the same until its status says otherwise: a worker may not read what its
        parent has loaded.
        """
        if now.digest is None:
            same = now.status == self.status
        else:
            same = now.digest == self.digest and _modes(now.status) == _modes(self.status)
        return Stamp(now.status, now.digest or self.digest) if same else None

    def seen_from(self, here: Status) -> Stamp:
        """This stamp of another process, for one to whom the files have the status `here`: it may not see them all."""
        hidden = (one if one == _HIDDEN else before for one, before in zip(here, self.status, strict=False))
        return Stamp(tuple(hidden), self.digest)


NO_STAMP: Final = Stamp()
"""That of no file: nothing is known."""


def status_of(paths: Iterable[Path]) -> Status:
    """Which file each path leads to, behind any link, with its mode, size and times, and whether it is deleted.

    The time of the last change of status (ctime) moves with every write, and no program can set it back.
    """
    found: list[tuple[int, ...]] = []
    for path in paths:
        try:
            one = os.stat(path)  # noqa: PTH116 -- thousands of files: half the time of Path.stat
        except PermissionError:
            found.append(_HIDDEN)
        except (OSError, ValueError):
            found.append(_MISSING)
        else:
            found.append(
                (one.st_mode, one.st_nlink == 0, one.st_dev, one.st_ino, one.st_size, one.st_mtime_ns, one.st_ctime_ns)
            )
    return tuple(found)


def is_closed(path: Path) -> bool:
    """Whether the file is there, or may be, and this user cannot read it."""
    return not os.access(path, os.R_OK) and status_of([path]) != (_MISSING,)


def digest_of(paths: Iterable[Path]) -> str | None:
    """Of the contents. What is wrong with a file counts as its content; None where that is not the file's fault."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            data = read_material(path, "file").data
        except CertificateError as error:
            if isinstance(error.__cause__, PermissionError) or is_passing(error):
                return None
            data = error.code.encode("ascii")
        digest.update(hashlib.sha256(data).digest())
    return digest.hexdigest()


def stamp_of(paths: Iterable[Path]) -> Stamp:
    """Both. The status is taken first, so that a change in between is seen later."""
    paths = tuple(paths)
    return Stamp(status_of(paths), digest_of(paths))


def _modes(status: Status) -> list[tuple[int, ...]]:
    """With what is warned of when it changes: a deleted file that a mount still shows."""
    return [one[:2] for one in status]
