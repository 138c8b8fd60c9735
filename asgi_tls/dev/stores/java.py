"""Java on Debian: one keystore for every runtime. update-ca-certificates adds to it, and takes nothing out again."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from asgi_tls.dev.stores.store import Anchor, Command, Host, Kind, ask, is_ours
from asgi_tls.errors import TrustStoreError

# The aliases that Debian gives: after the name of the file.
_ALIAS = re.compile(r"^debian:(?P<label>asgi-tls-[0-9a-f]+-[0-9a-f]+)\.pem,", re.MULTILINE)

# Everybody's password: it guards nothing but against accidents.
_PASSWORD = "changeit"  # noqa: S105


@dataclass(frozen=True)
class JavaKeystore:
    name: str
    keystore: Path
    keytool: str

    kind: ClassVar[Kind] = "system"

    def install(self, anchor: Anchor) -> tuple[Command, ...]:
        labels = self._labels(anchor.family, anchor)
        outdated = tuple(self._deletion(label) for label in labels if label != anchor.label)
        if anchor.label in labels:
            return outdated
        add = ("-importcert", "-noprompt", "-alias", _alias(anchor.label), "-file", str(anchor.path))
        return (*outdated, self._command(*add))

    def uninstall(self, family: str, anchor: Anchor | None) -> tuple[Command, ...]:
        return tuple(map(self._deletion, self._labels(family, anchor)))

    def _labels(self, family: str, anchor: Anchor | None) -> list[str]:
        listed = ask(*self._command("-list").argv)
        if listed.returncode:
            raise TrustStoreError(f"{self.keystore}: {listed.stdout.strip()}", fix="Run keytool by hand to see why.")
        return sorted(label for label in _ALIAS.findall(listed.stdout) if is_ours(label, family, anchor))

    def _deletion(self, label: str) -> Command:
        return self._command("-delete", "-alias", _alias(label))

    def _command(self, *arguments: str) -> Command:
        place = ("-keystore", str(self.keystore), "-storepass", _PASSWORD)
        return Command((self.keytool, *arguments, *place), privileged=True)


def _alias(label: str) -> str:
    return f"debian:{label}.pem"


def java(host: Host) -> JavaKeystore | None:
    keystore, keytool = host.root / "etc/ssl/certs/java/cacerts", host.system_program("keytool")
    if keytool is None or not keystore.exists():
        return None
    return JavaKeystore(f"Java ({keystore})", keystore, keytool)
