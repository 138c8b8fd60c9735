"""Windows: the user's own root store, by certutil. Edge, Chrome, and Firefox from 120 on read it. Windows itself asks.

Certificates of a deleted CA cannot be identified there: `uninstall` removes the CA that exists on disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from asgi_tls.dev.stores.store import Anchor, Command, Host, Kind, ask


@dataclass(frozen=True)
class UserRoots:
    """`certutil` is Windows' own: NSS has another program of that name."""

    certutil: str

    name: ClassVar[str] = "Trusted root certification authorities of this user"
    kind: ClassVar[Kind] = "system"

    def install(self, anchor: Anchor) -> tuple[Command, ...]:
        return () if self._holds(anchor) else (self._command("-addstore", "Root", str(anchor.path)),)

    def uninstall(self, family: str, anchor: Anchor | None) -> tuple[Command, ...]:  # noqa: ARG002 -- the protocol's
        if anchor is None or not self._holds(anchor):
            return ()
        return (self._command("-delstore", "Root", _serial(anchor)),)

    def _holds(self, anchor: Anchor) -> bool:
        return ask(*self._command("-store", "Root", _serial(anchor)).argv).returncode == 0

    def _command(self, *arguments: str) -> Command:
        return Command((self.certutil, "-user", *arguments))


def _serial(anchor: Anchor) -> str:
    """How certutil identifies a certificate. Our serial numbers are random, 20 bytes."""
    return f"{anchor.certificate.serial_number:040x}"


def windows(host: Host) -> UserRoots | None:
    if host.platform != "win32":
        return None
    system = Path(host.environ.get("SystemRoot", str(host.root / "Windows"))) / "System32"
    return UserRoots(str(system / "certutil.exe"))
