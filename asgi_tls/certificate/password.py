"""The password of an encrypted key: text, a file, or a callable, used only if the key is encrypted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from asgi_tls.certificate.material import Material, read_material
from asgi_tls.errors import ConfigurationError, EmptyFileError, PasswordError
from asgi_tls.events import Notice

if TYPE_CHECKING:
    import os


@dataclass(frozen=True)
class PasswordFile:
    """The first line of a file. A type of its own, so that a `str` is always the password itself."""

    path: str | os.PathLike[str]


Password: TypeAlias = str | bytes | PasswordFile | Callable[[], str | bytes] | None


def check_password(password: object) -> None:
    """Raise ConfigurationError for a value of the wrong type. Reads no file."""
    if password is None or isinstance(password, (str, bytes, PasswordFile)) or callable(password):
        return
    raise ConfigurationError(
        f"a password cannot be of type {type(password).__name__}",
        fix="Give a str, bytes, PasswordFile(path), or a callable that returns the password.",
    )


def resolve_password(password: Password, key: Material) -> tuple[bytes | None, tuple[Notice, ...]]:
    """The password, and warnings about its file.

    Raises CertificateError. If a callable fails, the message contains only the type of its exception.
    """
    if isinstance(password, PasswordFile):
        return first_line(Path(password.path))
    if callable(password):
        try:
            password = password()
        except Exception as error:
            raise _bad_callable(key, f"the password callable raised {type(error).__name__}") from error
        if not isinstance(password, (str, bytes)):
            raise _bad_callable(key, f"the password callable returned {type(password).__name__}")
    return password.encode("utf-8", "surrogateescape") if isinstance(password, str) else password, ()


def first_line(path: Path) -> tuple[bytes, tuple[Notice, ...]]:
    """The password in a file, and warnings about the file. Raises CertificateError.

    Windows' editors and PowerShell put a byte order mark first, before UTF-8 or UTF-16: it is not part of the password.
    """
    material = read_material(path, "password")
    data = material.data.removeprefix(b"\xef\xbb\xbf")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        data = data.decode("utf-16", "replace").encode()
    line = data.partition(b"\n")[0].rstrip(b"\r")
    if not line:
        raise material.error(EmptyFileError, "has an empty first line", "Write the password there.")
    return line, (*material.open_to_others("password"), *material.stale)


def _bad_callable(key: Material, what: str) -> PasswordError:
    return key.error(
        PasswordError, f"is encrypted, and {what}", "Make the callable return the password as str or bytes."
    )
