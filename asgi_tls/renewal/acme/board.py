"""Challenges that all processes and hosts answer, whichever of them orders: kept in the storage, and mirrored into the
memory of each process, so that a handshake touches neither disk nor network.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable
from typing import Final

from asgi_tls.certificate.challenges import ChallengePair, challenges
from asgi_tls.files import DAMAGED, read_own
from asgi_tls.renewal.acme.account import thumbprint
from asgi_tls.renewal.acme.agent import Presented
from asgi_tls.renewal.acme.storage import ACCOUNT, Fence, Storage

logger = logging.getLogger("asgi_tls")

MIRROR_SECONDS: Final = 1.0
"""How often each process looks."""

_FOLDER: Final = "challenges/"
_LIFETIME: Final = 3600.0
_LARGEST_KEY: Final = 16384


class Board:
    """The challenges of one storage."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._seen: list[str] | None = None

    def put_up(self, challenge: Presented, fence: Fence) -> None:
        """For every process to answer, from a second later on. Raises OSError, StaleFenceError."""
        if challenge.certificate is None:  # http-01 is answered by the account alone
            self._storage.delete(_key(challenge.name), fence)  # what an order that was stopped has left
            return
        cert_pem, key_pem = challenge.certificate
        text = json.dumps(
            {
                "name": challenge.name,
                "certificate": cert_pem.decode("ascii"),
                "key": key_pem.decode("ascii"),
                "until": time.time() + _LIFETIME,
            }
        )
        self._storage.store(_key(challenge.name), text.encode("ascii"), fence)

    def take_down(self, challenge: Presented, fence: Fence) -> None:
        """It is over. Raises OSError, StaleFenceError."""
        if challenge.challenge == "tls-alpn-01":
            self._storage.delete(_key(challenge.name), fence)

    def mirror(self) -> None:
        """Answer what is up, in this process. Raises OSError."""
        keys = self._storage.keys(_FOLDER)
        if not keys and not self._seen:
            return
        found: dict[str, ChallengePair] = {}
        for key in keys:
            data = self._storage.load(key)
            read = None if data is None else _read(data, time.time())
            if read is not None:
                found[read[0]] = read[1]
        self._seen = keys
        challenges.use_tls_alpn(found)


def lock_of(name: str) -> str:
    """Of the lock that an order holds for each of its names: for one name there is one answer by tls-alpn-01."""
    return f"name-{_digest(name)}"


def answer_by(storage: Storage) -> None:
    """Answer http-01 in this process by the account of this storage."""
    challenges.answer_http(_thumbprint_of(storage))


def _thumbprint_of(storage: Storage) -> Callable[[], str | None]:
    """A function that reads the account's key from this host's directory, once a second at most."""
    last: tuple[float, str | None] = (-MIRROR_SECONDS, None)

    def read() -> str | None:
        nonlocal last
        now = time.monotonic()
        if now - last[0] >= MIRROR_SECONDS:
            found = None
            try:
                found = thumbprint(read_own(storage.local / ACCOUNT, _LARGEST_KEY))
            except FileNotFoundError:
                pass
            except (OSError, ValueError) as error:
                logger.warning("the ACME account in %s cannot be read: %s", storage.local, error)
            last = now, found
        return last[1]

    return read


def _key(name: str) -> str:
    return f"{_FOLDER}{_digest(name)}.json"


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode("ascii")).hexdigest()[:32]


def _read(data: bytes, now: float) -> tuple[str, ChallengePair] | None:
    """A name and its pair; None for one that was forgotten, and for anything that `put_up` did not write."""
    try:
        values = json.loads(data)
        name, until = str(values["name"]), float(values["until"])
        pair = ChallengePair(str(values["certificate"]).encode("ascii"), str(values["key"]).encode("ascii"))
    except DAMAGED:
        return None
    return (name, pair) if now < until < now + 2 * _LIFETIME else None
