"""A directory of key pairs: each pair in it is served for the names in its certificate."""

from __future__ import annotations

import os
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from asgi_tls.certificate.material import unreadable
from asgi_tls.certificate.sources import check_path
from asgi_tls.errors import MissingFileError, UnreadableFileError

Pair: TypeAlias = tuple[str, str | None]
"""The files of a pair: certificate and key, which is None where it must be in the certificate's file."""

# What certbot, Kubernetes and acme.sh (with --install-cert) call the two files inside a directory of its own.
_INSIDE: Final = (("fullchain.pem", "privkey.pem"), ("tls.crt", "tls.key"), ("fullchain.cer", "privkey.key"))

# And what pairs side by side are called: NAME.crt or NAME.pem with NAME.key; without NAME.key the key is in the file.
_CERTIFICATE_SUFFIXES: Final = (".crt", ".pem")
_KEY_SUFFIX: Final = ".key"

# Where a volume is mounted, fsck's own directory, which only root may enter.
_NO_PAIR: Final = "lost+found"


@dataclass(frozen=True)
class PEMDirectory:
    """Key pairs in a directory: one in each subdirectory, as certbot's `live` has them, or `name.crt` and `name.key`.

    Names that begin with a dot, subdirectories without a file of these names, and a lone `name.key` are ignored. A
    subdirectory with a key and no certificate is a pair that cannot be loaded, and so is one that may not be entered.
    """

    path: str | os.PathLike[str]

    def __post_init__(self) -> None:
        check_path("directory", self.path)

    def pairs(self, before: Iterable[Pair] = ()) -> tuple[Pair, ...]:
        """The pairs that are there now, in the order of their names. Nothing in their files is read.

        Of those that were there `before`, one that has lost its certificate and not its key is still there, at the end.

        Raises MissingFileError, UnreadableFileError.
        """
        known, found = frozenset(before), list[Pair]()
        try:
            with os.scandir(self.path) as listing:
                # Sorted: which certificate answers must not depend on the order on the disk.
                for entry in sorted(listing, key=lambda one: one.name):
                    if entry.name.startswith(".") or entry.name == _NO_PAIR:
                        continue
                    pair = _inside(entry.path, known) if _is_directory(entry) else _side_by_side(entry.path)
                    if pair is not None:
                        found.append(pair)
        except (FileNotFoundError, NotADirectoryError):
            if Path(self.path).exists():
                raise UnreadableFileError(
                    "is a file, not a directory", fix="Name the directory that it is in.", path=Path(self.path)
                ) from None
            raise MissingFileError("no such directory", fix="Check the path.", path=Path(self.path)) from None
        except OSError as error:
            raise unreadable(error, Path(self.path), "directory") from error
        return (*found, *_left(known.difference(found), found))

    def __str__(self) -> str:
        return str(self.path)


# Strings: with thousands of pairs, paths as objects would take most of the time of a look.


def _inside(directory: str, known: AbstractSet[Pair]) -> Pair | None:
    pairs = [(f"{directory}{os.sep}{certificate}", f"{directory}{os.sep}{key}") for certificate, key in _INSIDE]
    try:
        for part in (0, 1):  # a key alone is half a pair
            for pair in pairs:
                if _exists(pair[part]):
                    return pair
    except OSError:  # it may not be entered, or is a link to itself: loading the pair will say so
        return next((pair for pair in pairs if pair in known), pairs[0])
    return None


def _side_by_side(certificate: str) -> Pair | None:
    stem, suffix = os.path.splitext(certificate)  # noqa: PTH122
    if suffix not in _CERTIFICATE_SUFFIXES:
        return None
    keyfile = f"{stem}{_KEY_SUFFIX}"
    return certificate, keyfile if _may_exist(keyfile) else None


def _left(lost: AbstractSet[Pair], found: Iterable[Pair]) -> list[Pair]:
    """Those of the pairs that are not found any more of which something is left that no other pair has."""
    files = {file for pair in found for file in pair} if lost else ()
    return [
        (certificate, key)
        for certificate, key in sorted(lost)
        if certificate not in files and key is not None and key not in files and (_may_exist(key) or _hangs(key))
    ]


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to where this user may not look, or to itself
        return not entry.name.endswith(_CERTIFICATE_SUFFIXES)


def _exists(path: str) -> bool:
    """Whether the name is there, wherever it may lead. Raises OSError if this cannot be known."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _may_exist(path: str) -> bool:
    try:
        return _exists(path)
    except OSError:
        return True


def _hangs(path: str) -> bool:
    """Whether its directory is a link to something that is not there now, such as a volume."""
    directory = os.path.dirname(path)  # noqa: PTH120
    return os.path.islink(directory) and not os.path.exists(directory)  # noqa: PTH110, PTH114
