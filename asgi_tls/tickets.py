"""Session tickets: what their keys are derived from, and when each is valid. Pure: all hosts compute the same.

A ticket is a session that the client keeps, encrypted by the server (RFC 8446 section 4.6.1, RFC 5077). Its keys come
from a secret that workers and hosts share, from the epoch, and from whatever must end earlier sessions when it changes.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shlex
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

from asgi_tls.certificate.material import Material, read_material
from asgi_tls.errors import ConfigurationError, EmptyFileError, MissingFileError
from asgi_tls.events import Notice
from asgi_tls.profile import TLSProfile

MIN_SECRET: Final = 32
"""Bytes: the strength of the AES-256 and HMAC-SHA256 keys that are derived from it."""

KEYS_SIZE: Final = 80
"""OpenSSL's ticket keys: a name of 16 bytes, an HMAC-SHA256 key and an AES-256 key of 32 each."""

DEFAULT_ROTATION: Final = 43_200.0
"""Seconds. RFC 9325 section 3.4: the keys change regularly, and tickets are not valid for longer than that."""

_MAX_ROTATION: Final = 604_800  # RFC 8446 section 4.6.1: no ticket is valid for more than seven days

# Of random bytes, or random text in hexadecimal, 32 hardly ever have fewer different values.
_MIN_DIFFERENT: Final = 8

# How long tickets of the previous epoch are still accepted, as a share of the rotation: an hour of twelve. An active
# client comes back within it, and gets a new one.
_OVERLAP: Final = 1 / 12
# How far, in seconds, another host's clock may be ahead for its new tickets to be accepted here.
_SKEW: Final = 60.0

_PURPOSE: Final = b"asgi_tls ticket keys 1"
_MAKE_ONE: Final = "Make one with `openssl rand {}`, and give all hosts the same."
_IN_TEXT: Final = _MAKE_ONE.format("-hex 32")  # a variable cannot contain zeros


@dataclass(frozen=True)
class TicketSecretFile:
    """The bytes of a file, all of them, as they are. A type of its own, so that `bytes` are the secret itself."""

    path: str | os.PathLike[str]


TicketSecret: TypeAlias = bytes | TicketSecretFile | Callable[[], bytes]


@dataclass(frozen=True)
class LoadedSecret:
    """A secret that is long enough, and warnings about it."""

    data: bytes = field(repr=False)
    warnings: tuple[Notice, ...] = field(default=(), compare=False)


def check_tickets(secret: object, rotation: object) -> None:
    """Check both without reading a file. Raises ConfigurationError, which never quotes a secret."""
    if isinstance(secret, bytes):
        _check("{ticket_secret}", secret)
    elif not (secret is None or isinstance(secret, TicketSecretFile) or callable(secret)):
        raise ConfigurationError(
            f"{{ticket_secret}} is of type {type(secret).__name__}",
            fix="Set it to bytes, TicketSecretFile(path), or a callable that returns bytes.",
            settings=("ticket_secret",),
        )
    if not isinstance(rotation, (int, float)) or not 1 <= rotation <= _MAX_ROTATION:
        raise ConfigurationError(
            f"{{ticket_rotation}} is {rotation!r}",
            fix=f"Set it to seconds from 1 to {_MAX_ROTATION} (seven days); 43200 is twelve hours.",
            settings=("ticket_rotation",),
        )


def secret_from(path: str | None, text: str | None) -> TicketSecret | None:
    """What the settings name: a file, or the secret itself as text. Raises ConfigurationError."""
    if path is not None and text is not None:
        raise ConfigurationError(
            "{ticket_secret} and {ticket_secret_file} are both set",
            fix="Keep one of them.",
            settings=("ticket_secret", "ticket_secret_file"),
        )
    if path is not None:
        return TicketSecretFile(path)
    return None if text is None else text.encode("utf-8", "surrogateescape")


def name_of(secret: TicketSecret) -> str:
    """What to call it in messages."""
    return f"ticket secret {secret.path}" if isinstance(secret, TicketSecretFile) else "ticket secret"


def paths_of(secret: TicketSecret) -> tuple[Path, ...]:
    """The file, where there is one."""
    return (Path(secret.path),) if isinstance(secret, TicketSecretFile) else ()


def load_secret(secret: TicketSecret) -> LoadedSecret:
    """Read it, or ask for it.

    Raises ConfigurationError, CertificateError where the file cannot be read.
    """
    if isinstance(secret, TicketSecretFile):
        path = Path(secret.path)
        material = _read(path)
        _check(material.name, material.data, _in_file(path))
        return LoadedSecret(material.data, (*material.open_to_others("ticket secret"), *material.stale))
    if isinstance(secret, bytes):
        return LoadedSecret(secret)
    try:
        data = secret()
    except Exception as error:
        # Its type alone: its text may hold anything.
        raise ConfigurationError(
            f"the callable in {{ticket_secret}} failed with {type(error).__name__}",
            fix="Make it return the secret as bytes.",
            settings=("ticket_secret",),
        ) from error
    if not isinstance(data, bytes):
        raise ConfigurationError(
            f"the callable in {{ticket_secret}} returned {type(data).__name__}",
            fix="Make it return the secret as bytes.",
            settings=("ticket_secret",),
        )
    _check("the ticket secret that the callable returned", data)
    return LoadedSecret(data)


def _read(path: Path) -> Material:
    try:
        return read_material(path, "ticket secret")
    except (EmptyFileError, MissingFileError) as error:
        raise type(error)(error.problem.removeprefix(f"{path}: "), fix=_in_file(path), path=path) from None


def _in_file(path: Path) -> str:
    return _MAKE_ONE.format(f"-out {shlex.quote(str(path))} 32")


def _check(what: str, secret: bytes, fix: str = _IN_TEXT) -> None:
    problem = ""
    if len(secret) < MIN_SECRET:
        problem = f"has {len(secret)} bytes, and {MIN_SECRET} are needed"
    elif len({*secret}) < _MIN_DIFFERENT:
        problem = "repeats a few bytes, so it is not random"
    if problem:
        raise ConfigurationError(f"{what} {problem}", fix=fix, settings=("ticket_secret",))


def ends_of(profile: TLSProfile, client_auth: str | None, client_ca: str | None, client_crl: str | None) -> bytes:
    """A digest of what must end earlier sessions when it changes: the policy, and whom the server trusts.

    Certificates are not in it: a renewal ends no session.
    """
    parts: list[Any] = [profile.minimum_version, profile.maximum_version, sorted(profile.ciphersuites)]
    parts += [sorted(profile.ciphers), profile.groups, client_auth, client_ca, client_crl]
    return hashlib.sha256(json.dumps(parts).encode("ascii")).digest()


def derive_keys(secret: bytes, *, rotation: float, epoch: int, ends: bytes) -> bytes:
    """The `KEYS_SIZE` bytes for one epoch: HKDF-SHA256 (RFC 5869). `ends` is a digest of 32 bytes."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    # Each part but the last has a fixed length: two different inputs never read the same.
    info = _PURPOSE + struct.pack(">dq", rotation, epoch) + ends
    return HKDF(SHA256(), KEYS_SIZE, salt=None, info=info).derive(secret)


@dataclass(frozen=True)
class Epochs:
    """The epochs from `since` until `until` (seconds since 1970): tickets are issued in `current`, and those of `also`
    are accepted too.
    """

    current: int
    also: tuple[int, ...]
    since: float
    until: float


@dataclass(frozen=True)
class Rotation:
    """Epoch n begins n * `period` seconds after 1970, so hosts agree as well as their clocks do.

    Tickets of an epoch are accepted `lead` seconds before it begins, for hosts whose clock is ahead, and `overlap`
    seconds after it has ended. With 0 and 0 there is one key at a time, and no session outlives its epoch, however
    often it is resumed (RFC 8446 section 4.6.1 asks for a limit).
    """

    period: float = DEFAULT_ROTATION
    lead: float = 0.0
    overlap: float = 0.0

    @classmethod
    def gentle(cls, period: float) -> Rotation:
        """With a lead and an overlap in proportion to the period."""
        return cls(period, min(_SKEW, period * _OVERLAP), period * _OVERLAP)

    def at(self, now: float) -> Epochs:
        """The epochs at a moment, in seconds since 1970."""
        offsets = (0.0, self.lead, -self.overlap)
        current, *also = numbers = [math.floor((now + offset) / self.period) for offset in offsets]
        edges = list(zip(numbers, offsets, strict=True))
        return Epochs(
            current,
            tuple(dict.fromkeys(number for number in also if number != current)),
            max(number * self.period - offset for number, offset in edges),
            min((number + 1) * self.period - offset for number, offset in edges),
        )
