"""A directory of key pairs: each pair in it is served for the names in its certificate."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from asgi_tls.certificate.material import unreadable
from asgi_tls.certificate.sources import check_path
from asgi_tls.errors import MissingFileError, UnreadableFileError

# What certbot, Kubernetes and acme.sh (with --install-cert) call the two files inside a directory of its own.
_INSIDE: Final = (("fullchain.pem", "privkey.pem"), ("tls.crt", "tls.key"), ("fullchain.cer", "privkey.key"))

# And what pairs side by side are called: NAME.crt or NAME.pem with NAME.key; without NAME.key the key is in the file.
_CERTIFICATE_SUFFIXES: Final = (".crt", ".pem")
_KEY_SUFFIX: Final = ".key"


@dataclass(frozen=True)
class PEMDirectory:
    """Key pairs in a directory: one in each subdirectory, as certbot's `live` has them, or `name.crt` and `name.key`.

    Names that begin with a dot, and subdirectories without a certificate, are ignored.
    """

    path: str | os.PathLike[str]

    def __post_init__(self) -> None:
        check_path("directory", self.path)

    def pairs(self) -> tuple[tuple[str, str | None], ...]:
        """The files of the pairs that are there now, in the order of their names: certificate and key, which is None
        where it must be in the certificate's file. Nothing in them is read.

        Raises MissingFileError, UnreadableFileError.
        """
        found: list[tuple[str, str | None]] = []
        try:
            with os.scandir(self.path) as listing:
                # Sorted: which certificate answers must not depend on the order on the disk.
                for entry in sorted(listing, key=lambda one: one.name):
                    pair = None if entry.name.startswith(".") else _pair(entry.path, is_directory=entry.is_dir())
                    if pair is not None:
                        found.append(pair)
        except (FileNotFoundError, NotADirectoryError):
            if Path(self.path).exists():
                raise UnreadableFileError(
                    "is a file, not a directory", fix="Name the directory that it is in.", path=Path(self.path)
                ) from None
            raise MissingFileError("no such directory", fix="Check the path.", path=Path(self.path)) from None
        except OSError as error:
            raise unreadable(error, "Let the server's user list it.", Path(self.path)) from error
        return tuple(found)

    def __str__(self) -> str:
        return str(self.path)


def _pair(path: str, *, is_directory: bool) -> tuple[str, str | None] | None:
    # Strings: with thousands of pairs, paths as objects would take most of the time of a look.
    if is_directory:
        for certificate, key in _INSIDE:
            if os.path.lexists(file := f"{path}{os.sep}{certificate}"):
                return file, f"{path}{os.sep}{key}"
        return None
    stem, suffix = os.path.splitext(path)  # noqa: PTH122
    if suffix not in _CERTIFICATE_SUFFIXES:
        return None
    keyfile = f"{stem}{_KEY_SUFFIX}"
    return path, keyfile if os.path.lexists(keyfile) else None
