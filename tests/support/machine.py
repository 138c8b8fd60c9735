"""Machines in a directory: what a distribution has in its places, with programs that stand in for its own.

The stand-ins do on a small scale what the programs do, and write down how they were called. The real ones have their
tests in tests/system/test_trust_stores.py.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from asgi_tls.dev.stores import Host


@dataclass
class Machine:
    """A file system at `root`, a user's home in it, and a log of the programs that ran."""

    root: Path
    platform: str = "linux"
    environ: Mapping[str, str] = field(default_factory=dict)
    data_home: str = ".local/share"
    config_home: str = ".config"

    def __post_init__(self) -> None:
        for place in ("usr/bin", "usr/sbin", "home/me/bin"):
            (self.root / place).mkdir(parents=True, exist_ok=True)

    @property
    def home(self) -> Path:
        return self.root / "home/me"

    def host(self, *, superuser: bool = True) -> Host:
        return Host(
            platform=self.platform,
            root=self.root,
            home=self.home,
            data_home=self.home / self.data_home,
            config_home=self.home / self.config_home,
            search_path=str(self.home / "bin"),
            environ=self.environ,
            superuser=superuser,
        )

    def program(self, path: str, script: str = "") -> Path:
        """A shell script that writes down its call, then runs `script`."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        log = shlex.quote(str(self.root / "log"))
        file.write_text(f'#!/bin/sh\necho "{file.name} $*" >> {log}\n{script}\n')
        file.chmod(0o755)
        return file

    @property
    def log(self) -> list[str]:
        file = self.root / "log"
        return file.read_text().splitlines() if file.exists() else []

    def directory(self, path: str) -> Path:
        place = self.root / path
        place.mkdir(parents=True, exist_ok=True)
        return place

    def distribution(self, name: str) -> Path:
        """Lay out the system store of Debian, Fedora or Arch. The directory for one's own CAs."""
        anchors, bundle, refresh = DISTRIBUTIONS[name]
        self.directory(str(Path(bundle).parent))
        place = self.directory(anchors)
        files, target = shlex.quote(str(place)), shlex.quote(str(self.root / bundle))
        self.program(f"usr/sbin/{refresh}", f"cat {files}/*.crt > {target} 2> /dev/null || true")
        return place


# Where one's own CAs go, the bundle that is made of all, and the program that makes it.
DISTRIBUTIONS = {
    "debian": ("usr/local/share/ca-certificates", "etc/ssl/certs/ca-certificates.crt", "update-ca-certificates"),
    "fedora": (
        "etc/pki/ca-trust/source/anchors",
        "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
        "update-ca-trust",
    ),
    "arch": (
        "etc/ca-certificates/trust-source/anchors",
        "etc/ca-certificates/extracted/tls-ca-bundle.pem",
        "update-ca-trust",
    ),
}
