"""The ways in which people and programs put new files in the place of old ones."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from pathlib import Path

from pki import DAY, PKI, Pair

from asgi_tls import PEMFiles

CERT, KEY = "fullchain.pem", "privkey.pem"


@dataclass
class Site:
    """A directory `mount` with the pair that a server serves, and the next pair to serve.

    Each pair ends at another second, by which log lines can be told apart.
    """

    pki: PKI
    root: Path
    password: bytes | None = None
    _numbers: Iterator[int] = field(default_factory=count, repr=False)

    def __post_init__(self) -> None:
        self.mount.mkdir(parents=True)
        self.write(self.next_pair(), self.mount)

    @property
    def mount(self) -> Path:
        return self.root / "mount"

    @property
    def source(self) -> PEMFiles:
        return PEMFiles(self.mount / CERT, self.mount / KEY)

    def next_pair(self, *, key: str = "ecdsa") -> Pair:
        return self.pki.leaf(
            "localhost",
            "127.0.0.1",
            key=key,
            not_after=self.pki.now + 60 * DAY - timedelta(seconds=next(self._numbers)),
        )

    def texts(self, pair: Pair) -> dict[str, bytes]:
        key = pair.key_pem if self.password is None else pair.encrypted_key_pem(self.password)
        return {CERT: pair.chain_pem, KEY: key}

    def write(self, pair: Pair, directory: Path) -> None:
        for name, text in self.texts(pair).items():
            (directory / name).write_bytes(text)
            (directory / name).chmod(0o600)


def renamed(site: Site, pair: Pair) -> None:
    """As careful programs do it."""
    site.write(pair, site.root)
    for name in site.texts(pair):
        (site.root / name).replace(site.mount / name)


def overwritten(site: Site, pair: Pair) -> None:
    site.write(pair, site.mount)


def key_first(site: Site, pair: Pair) -> None:
    (site.mount / KEY).write_bytes(pair.key_pem)
    time.sleep(0.3)
    (site.mount / CERT).write_bytes(pair.chain_pem)


def certificate_first(site: Site, pair: Pair) -> None:
    (site.mount / CERT).write_bytes(pair.chain_pem)
    time.sleep(0.3)
    (site.mount / KEY).write_bytes(pair.key_pem)


def without_events(site: Site, pair: Pair) -> None:
    """Through another name of the same file, in a directory that nobody watches, and with the old times put back."""
    elsewhere = site.root / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    for name, text in site.texts(pair).items():
        other, times = elsewhere / name, (site.mount / name).stat()
        other.unlink(missing_ok=True)
        other.hardlink_to(site.mount / name)
        other.write_bytes(text)
        os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))


def directory_moved_away_and_back(site: Site, pair: Pair) -> None:
    away = site.root / "away"
    site.mount.rename(away)
    time.sleep(0.3)
    site.write(pair, away)
    away.rename(site.mount)


def kubernetes(site: Site, pair: Pair) -> None:
    """The files are links into `..data`, which is a link to a directory that is made anew each time."""
    stamped = site.mount / f"..{time.time_ns()}"
    stamped.mkdir()
    site.write(pair, stamped)
    data, new = site.mount / "..data", site.mount / "..data_tmp"
    new.symlink_to(stamped.name)
    old = data.resolve() if data.is_symlink() else None
    new.replace(data)
    for name in (CERT, KEY):
        if not (site.mount / name).is_symlink():
            (site.root / name).symlink_to(f"..data/{name}")
            (site.root / name).replace(site.mount / name)
    if old is not None:
        shutil.rmtree(old)


WAYS: tuple[Callable[[Site, Pair], None], ...] = (
    renamed,
    overwritten,
    key_first,
    certificate_first,
    without_events,
    directory_moved_away_and_back,
    kubernetes,  # three times: a watch on the files themselves dies with the first
    kubernetes,
    kubernetes,
)
