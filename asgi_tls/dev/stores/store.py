"""What the trust stores share: a machine to look at, a CA to trust, and commands as data."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from asgi_tls.dev.ca import read_certificate
from asgi_tls.errors import ConfigurationError, TrustStoreError
from asgi_tls.files import user_directory

if TYPE_CHECKING:
    from cryptography import x509

Kind = Literal["system", "nss"]


@dataclass(frozen=True)
class Command:
    """One program to run. `privileged`: as root, so through sudo for anybody else."""

    argv: tuple[str, ...]
    privileged: bool = False

    def as_user(self, *, superuser: bool) -> tuple[str, ...]:
        return ("sudo", "--", *self.argv) if self.privileged and not superuser else self.argv


@dataclass(frozen=True, kw_only=True)
class Host:
    """The machine as the stores see it. `root` is the root of its file system, so that tests can use another one.

    Privileged programs are searched in the system's directories only: other directories of `search_path` may be
    writable for other users.
    """

    platform: str = sys.platform
    root: Path = Path("/")
    home: Path
    data_home: Path
    config_home: Path
    search_path: str = ""
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    superuser: bool = False

    @classmethod
    def here(cls) -> Host:
        try:
            home = Path.home()
        except RuntimeError:
            raise ConfigurationError("this user has no home directory", fix="Set HOME to a directory.") from None
        return cls(
            home=home,
            data_home=user_directory("data"),
            config_home=user_directory("config"),
            search_path=os.environ.get("PATH", os.defpath),
            environ=os.environ,
            superuser=not hasattr(os, "geteuid") or os.geteuid() == 0,
        )

    def program(self, name: str) -> str | None:
        """The path of a program that runs as this user."""
        return shutil.which(name, path=os.pathsep.join([self.search_path, self._system_path]))

    def system_program(self, name: str) -> str | None:
        """The path of a program that runs as root."""
        return shutil.which(name, path=self._system_path)

    @property
    def _system_path(self) -> str:
        return os.pathsep.join(str(self.root / each) for each in ("usr/sbin", "usr/bin", "sbin", "bin"))

    def shown(self, command: Command) -> str:
        """A line to paste into a shell."""
        argv = command.as_user(superuser=self.superuser)
        return subprocess.list2cmdline(argv) if self.platform == "win32" else shlex.join(argv)


@dataclass(frozen=True)
class Anchor:
    """The certificate of a local CA, and the name under which the stores keep it."""

    path: Path
    certificate: x509.Certificate

    @classmethod
    def read(cls, path: Path) -> Anchor:
        """Raises OSError, or ValueError for a file that holds no certificate."""
        return cls(path, read_certificate(path))

    @property
    def fingerprint(self) -> str:
        return self.certificate.fingerprint(SHA256()).hex()

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode("ascii")

    @property
    def family(self) -> str:
        return family_of(self.path)

    @property
    def label(self) -> str:
        """`family` and fingerprint: a store that holds this label holds this very certificate."""
        return f"{self.family}-{self.fingerprint[:16]}"


def family_of(path: Path) -> str:
    """The prefix of the labels of all CAs that were ever created at this path, to find those of deleted CAs."""
    return f"asgi-tls-{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:8]}"


def is_ours(label: str, family: str, anchor: Anchor | None) -> bool:
    """Whether a label belongs to the family, or to `anchor` before its directory was moved."""
    if anchor is not None and label.startswith("asgi-tls-") and label.endswith(anchor.label.rpartition("-")[2]):
        return True
    return label.startswith(f"{family}-")


class TrustStore(Protocol):
    """One place where programs look for the CAs that they trust.

    Both methods examine the store and change nothing: they return the commands that remain to be run, none if the store
    is up to date. Called again afterwards, they verify the result. They raise TrustStoreError.
    """

    @property
    def kind(self) -> Kind: ...

    @property
    def name(self) -> str:
        """For messages: the owner of the store, and its path."""

    def install(self, anchor: Anchor) -> tuple[Command, ...]:
        """Trust `anchor`, and no other CA of its family."""

    def uninstall(self, family: str, anchor: Anchor | None) -> tuple[Command, ...]:
        """Trust no CA of the family, nor `anchor` under any label, if the CA still exists."""


def ask(*argv: str) -> subprocess.CompletedProcess[str]:
    """Run a program that changes nothing. Raises TrustStoreError if it cannot be run or does not end."""
    try:
        return subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TrustStoreError(f"{argv[0]}: {error}", fix="Run it by hand to see why.") from error
