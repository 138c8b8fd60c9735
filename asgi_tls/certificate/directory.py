"""A directory of key pairs: whatever lies in it is served for the names that it holds."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from asgi_tls.certificate.material import unreadable
from asgi_tls.certificate.sources import PEMFiles, check_path
from asgi_tls.errors import MissingFileError

# What certbot, Kubernetes and acme.sh (with --install-cert) call the two files inside a directory of its own.
_INSIDE: Final = (("fullchain.pem", "privkey.pem"), ("tls.crt", "tls.key"), ("fullchain.cer", "privkey.key"))

# And what pairs side by side are called: NAME.crt or NAME.pem with NAME.key; without NAME.key the key is in the file.
_CERTIFICATE_SUFFIXES: Final = (".crt", ".pem")
_KEY_SUFFIX: Final = ".key"


@dataclass(frozen=True)
class PEMDirectory:
    """Key pairs in a directory: one in each subdirectory, as certbot's `live` has them, or `name.crt` and `name.key`.

    Names that begin with a dot, and subdirectories without a certificate, are not looked at.
    """

    path: str | os.PathLike[str]

    def __post_init__(self) -> None:
        check_path("directory", self.path)

    def entries(self) -> tuple[PEMFiles, ...]:
        """The pairs that are there now, in the order of their names. Nothing in them is read.

        Raises MissingFileError, UnreadableFileError.
        """
        found: list[PEMFiles] = []
        try:
            with os.scandir(self.path) as listing:
                # Sorted: which certificate answers must not depend on the order on the disk.
                for entry in sorted(listing, key=lambda one: one.name):
                    pair = None if entry.name.startswith(".") else _pair(Path(entry.path), is_directory=entry.is_dir())
                    if pair is not None:
                        found.append(pair)
        except (FileNotFoundError, NotADirectoryError):
            raise MissingFileError("no such directory", fix="Check the path.", path=Path(self.path)) from None
        except OSError as error:
            raise unreadable(error, "Let the server's user list it.", Path(self.path)) from error
        return tuple(found)

    def __str__(self) -> str:
        return str(self.path)


def _pair(path: Path, *, is_directory: bool) -> PEMFiles | None:
    if is_directory:
        for certificate, key in _INSIDE:
            if os.path.lexists(path / certificate):
                return PEMFiles(path / certificate, path / key)
        return None
    if path.suffix not in _CERTIFICATE_SUFFIXES:
        return None
    keyfile = path.with_suffix(_KEY_SUFFIX)
    return PEMFiles(path, keyfile if os.path.lexists(keyfile) else None)
