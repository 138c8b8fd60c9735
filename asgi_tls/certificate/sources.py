"""Where certificates come from: files, certbot, a Kubernetes Secret, or memory."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from asgi_tls.certificate.loaded import Certificate, Purpose
from asgi_tls.certificate.material import DENIED, Material, read_material, unreadable
from asgi_tls.certificate.password import Password, PasswordFile, check_password
from asgi_tls.errors import CertificateError, ConfigurationError, MissingFileError, some

StrPath = str | os.PathLike[str]


@dataclass(frozen=True)
class PEMFiles:
    """A certificate chain and its key in PEM files. Without `keyfile` the key stands in `certfile`."""

    certfile: StrPath
    keyfile: StrPath | None = None
    password: Password = field(default=None, repr=False)

    def __post_init__(self) -> None:
        check_password(self.password)
        check_path("certfile", self.certfile)
        if self.keyfile is not None:
            check_path("keyfile", self.keyfile)

    @cached_property  # needed at each check of the files
    def paths(self) -> tuple[Path, ...]:
        return _paths(self.certfile, self.keyfile, self.password)

    def load(self, purpose: Purpose = "server") -> Certificate:
        keyfile = None if self.keyfile is None else Path(self.keyfile)
        return _load_files(self, Path(self.certfile), keyfile, self.password, purpose)

    def __str__(self) -> str:
        return ", ".join(dict.fromkeys(str(name) for name in (self.certfile, self.keyfile) if name is not None))


@dataclass(frozen=True)
class OneOfSeveral(PEMFiles):
    """A pair that a directory or a setting has among others: the options for one key file and one password are not its.

    `add_key` says what to do where the certificate's file has no key, and `add_file` where a file is missing; the
    first may contain `{certificate}`.
    """

    add_key: str = field(
        default="Put the key beside it, in a file that ends with .key.", kw_only=True, compare=False, repr=False
    )
    add_file: str = field(
        default="Put it there, or remove the other file of the pair.", kw_only=True, compare=False, repr=False
    )

    def load(self, purpose: Purpose = "server") -> Certificate:
        try:
            return super().load(purpose)
        except CertificateError as error:
            if isinstance(error, MissingFileError):
                fix = self.add_file
            elif "keyfile" in error.settings:
                fix = self.add_key
            elif "password" in error.settings:
                fix = f"Remove the encryption: `openssl pkey -in {shlex.quote(str(error.path))} -out plain.pem`."
            else:
                raise
            advised = type(error)(error.problem, fix=fix, settings=("certificate",))
            advised.path = error.path
            raise advised from None


@dataclass(frozen=True)
class LetsEncrypt:
    """What certbot keeps for `domain`: `fullchain.pem` and `privkey.pem` in its live directory."""

    domain: str
    directory: StrPath = "/etc/letsencrypt/live"

    def __post_init__(self) -> None:
        check_path("directory", self.directory)
        if self.domain.startswith("*."):
            raise ConfigurationError(
                f"certbot keeps the certificate for {self.domain!r} under the name without `*.`",
                fix=f"Use {self.domain[2:]!r}.",
            )
        if not self.domain or self.domain.startswith(".") or set(self.domain) & set("/\\\0"):
            raise ConfigurationError(
                f"{self.domain!r} names no directory of certbot's",
                fix="Give the name that `certbot certificates` shows, such as example.com.",
            )

    @cached_property
    def paths(self) -> tuple[Path, Path]:
        return (self._home / "fullchain.pem", self._home / "privkey.pem")

    def load(self, purpose: Purpose = "server") -> Certificate:
        try:
            missing = not self._home.is_dir()
            live = sorted(path.name for path in Path(self.directory).iterdir() if path.is_dir()) if missing else []
        except (FileNotFoundError, NotADirectoryError, ValueError):
            raise MissingFileError(
                "no such directory",
                fix="Let certbot issue the certificate first, or set {certfile} and {keyfile} to files elsewhere; "
                "in Python, LetsEncrypt(…, directory=…).",
                path=Path(self.directory),
                settings=("certfile", "keyfile"),
            ) from None
        except OSError as error:
            raise unreadable(error, Path(self.directory), "directory", _CERTBOT_DENIED) from error
        if missing:
            raise self._unknown_domain(live)
        return _load_files(self, *self.paths, None, purpose, denied=_CERTBOT_DENIED)

    def __str__(self) -> str:
        return f"Let's Encrypt {self.domain} ({self._home})"

    @property
    def _home(self) -> Path:
        return Path(self.directory) / self.domain

    def _unknown_domain(self, live: list[str]) -> MissingFileError:
        numbered = [name for name in live if name.startswith(f"{self.domain}-") and name[-4:].isdigit()]
        if numbered:
            fix = f"certbot numbered a second lineage: use {numbered[-1]!r}."
        elif live:
            fix = f"certbot has {some(live, 20)}: use one of these, or issue {self.domain}."
        else:
            fix = f"certbot has issued nothing here yet: `certbot certonly -d {self.domain}`."
        return MissingFileError("no such certificate", fix=fix, path=self._home)


@dataclass(frozen=True)
class KubernetesSecret:
    """A mounted Secret of the type kubernetes.io/tls: `tls.crt` and `tls.key`."""

    directory: StrPath

    def __post_init__(self) -> None:
        check_path("directory", self.directory)

    @cached_property
    def paths(self) -> tuple[Path, Path]:
        return (Path(self.directory) / "tls.crt", Path(self.directory) / "tls.key")

    def load(self, purpose: Purpose = "server") -> Certificate:
        try:
            os.lstat(self.directory)
        except (FileNotFoundError, NotADirectoryError, ValueError):
            raise MissingFileError(
                "no such directory",
                fix="Mount the Secret there (volumes, volumeMounts), and check that it is in the pod's namespace.",
                path=Path(self.directory),
            ) from None
        except OSError:
            pass  # reading the files says why
        # Kubernetes writes 0644 into a mount that only the pod sees: the key's mode means nothing here.
        return _load_files(self, *self.paths, None, purpose, check_mode=False, denied=_KUBERNETES_DENIED)

    def __str__(self) -> str:
        return f"Kubernetes secret {self.directory}"


@dataclass(frozen=True)
class PEMData:
    """A chain and its key in memory. Without `key` the key stands in `certificate`."""

    certificate: bytes | str = field(repr=False)
    key: bytes | str | None = field(default=None, repr=False)
    password: Password = field(default=None, repr=False)

    def __post_init__(self) -> None:
        check_password(self.password)
        for value in (self.certificate, b"" if self.key is None else self.key):
            if not isinstance(value, (bytes, str)):
                raise ConfigurationError(
                    f"PEMData takes text or bytes, not {type(value).__name__}", fix="For files there is PEMFiles."
                )

    @cached_property
    def paths(self) -> tuple[Path, ...]:
        return _paths(None, None, self.password)

    def load(self, purpose: Purpose = "server") -> Certificate:
        key = None if self.key is None else _in_memory("key", self.key)
        return _validate(str(self), _in_memory("certificate", self.certificate), key, self.password, purpose)

    def __str__(self) -> str:
        return "PEM data in memory"


def files_or_secret(
    certfile: StrPath, keyfile: StrPath | None = None, password: Password = None
) -> PEMFiles | KubernetesSecret:
    """A pair by its files. A mounted Kubernetes Secret is recognized by the kubelet's link beside it."""
    directory = Path(certfile).parent
    files = Path(certfile), None if keyfile is None else Path(keyfile)
    of_secret = files == (directory / "tls.crt", directory / "tls.key") and password is None
    if of_secret and os.path.islink(directory / "..data"):  # noqa: PTH114 -- False where it cannot be seen
        return KubernetesSecret(directory)
    return PEMFiles(certfile, keyfile, password)


_CERTBOT_DENIED = (
    "certbot lets only root into live/ and archive/. Let the server's user {do}, or copy the files in a deploy hook."
)
_KUBERNETES_DENIED = "Set the pod's securityContext.fsGroup to a group of the server's user, and defaultMode to 0440."


def check_path(name: str, value: object) -> None:
    """Raise ConfigurationError for a value that cannot name a file."""
    if not isinstance(value, (str, os.PathLike)) or not os.fspath(value):
        raise ConfigurationError(f"{name}={value!r} is not a path", fix="Give a path as str or Path.")


def _paths(certfile: StrPath | None, keyfile: StrPath | None, password: Password) -> tuple[Path, ...]:
    third = password.path if isinstance(password, PasswordFile) else None
    return tuple(dict.fromkeys(Path(name) for name in (certfile, keyfile, third) if name is not None))


def _in_memory(role: str, data: bytes | str) -> Material:
    return Material(role, data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data)


def _load_files(
    source: object,
    certfile: Path,
    keyfile: Path | None,
    password: Password,
    purpose: Purpose,
    *,
    check_mode: bool = True,
    denied: str = DENIED,
) -> Certificate:
    certificate = read_material(certfile, "certificate", denied=denied)
    key = None if keyfile in {None, certfile} else read_material(keyfile, "key", denied=denied)
    return _validate(str(source), certificate, key, password, purpose, check_mode=check_mode)


def _validate(
    source: str,
    certificate: Material,
    key: Material | None,
    password: Password,
    purpose: Purpose,
    *,
    check_mode: bool = False,
) -> Certificate:
    from asgi_tls.certificate.validation import validate  # cryptography takes 30 ms to import; only loading needs it

    return validate(source, certificate, key, password, purpose, check_mode=check_mode)
