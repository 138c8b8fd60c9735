"""The password of an encrypted key: a text, a file, or a callable. Asked for only when the key is encrypted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from asgi_tls.certificate.material import Material, read_material
from asgi_tls.errors import ConfigurationError, PasswordError

if TYPE_CHECKING:
    import os


@dataclass(frozen=True)
class PasswordFile:
    """The first line of a file. A type of its own, so that a `str` is always the password itself."""

    path: str | os.PathLike[str]


Password: TypeAlias = str | bytes | PasswordFile | Callable[[], str | bytes] | None


def check_password(password: object) -> None:
    """Refuse, before any file is read, what can be no password."""
    if password is None or isinstance(password, (str, bytes, PasswordFile)) or callable(password):
        return
    raise ConfigurationError(
        f"a password cannot be a {type(password).__name__}",
        fix="Give a str, bytes, PasswordFile(path), or a callable that returns the password.",
    )


def resolve_password(password: Password, key: Material) -> bytes | None:
    """The password as bytes. Whatever goes wrong in a callable becomes a PasswordError that names its type alone."""
    if isinstance(password, PasswordFile):
        return read_material(Path(password.path), "password").data.splitlines()[0]
    if callable(password):
        try:
            password = password()
        except Exception as error:
            raise key.error(
                PasswordError,
                f"is encrypted, and asking for its password failed with {type(error).__name__}",
                "Make the callable return the password as str or bytes.",
            ) from error
        if not isinstance(password, (str, bytes)):
            raise key.error(
                PasswordError,
                f"is encrypted, and the password callable returned {type(password).__name__}",
                "Make the callable return the password as str or bytes.",
            )
    if isinstance(password, str):
        return password.encode("utf-8", "surrogateescape")
    return password
