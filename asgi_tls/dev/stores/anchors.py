"""How Linux distributions trust a CA: a file in a directory, and a program that makes their bundles anew from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from asgi_tls.dev.stores.store import Anchor, Command, Host, Kind


@dataclass(frozen=True)
class AnchorDirectory:
    """`refresh` reads `directory` and writes `bundle`, the PEM file that OpenSSL, curl and Python read."""

    name: str
    directory: Path
    bundle: Path
    refresh: tuple[str, ...]
    copy: str
    remove: str

    kind: ClassVar[Kind] = "system"

    @classmethod
    def find(cls, host: Host, name: str, directory: str, bundle: str, *refresh: str) -> AnchorDirectory | None:
        """None where the directory or the program that reads it is missing."""
        place, program = host.root / directory, host.system_program(refresh[0])
        if program is None or not place.is_dir():
            return None
        return cls(
            f"{name} ({place})",
            place,
            host.root / bundle,
            (program, *refresh[1:]),
            host.system_program("install") or "install",
            host.system_program("rm") or "rm",
        )

    def install(self, anchor: Anchor) -> tuple[Command, ...]:
        target = self.directory / f"{anchor.label}.crt"
        outdated = [path for path in self._labelled(anchor.label.rpartition("-")[0], anchor) if path != target]
        if not outdated and _holds(target, anchor) and _holds(self.bundle, anchor):
            return ()
        copy = Command((self.copy, "-m", "0644", str(anchor.path), str(target)), privileged=True)
        return (*self._removal(outdated), copy, Command(self.refresh, privileged=True))

    def uninstall(self, family: str, anchor: Anchor | None) -> tuple[Command, ...]:
        files = self._labelled(family, anchor)
        # A bundle that still holds it was not made anew since the file went.
        if not files and (anchor is None or not _holds(self.bundle, anchor)):
            return ()
        return (*self._removal(files), Command(self.refresh, privileged=True))

    def _labelled(self, family: str, anchor: Anchor | None) -> list[Path]:
        """The files of the family, and this CA's from before its directory was moved."""
        files = set(self.directory.glob(f"{family}-*.crt"))
        if anchor is not None:
            files |= set(self.directory.glob(f"asgi-tls-*-{anchor.label.rpartition('-')[2]}.crt"))
        return sorted(files)

    def _removal(self, files: list[Path]) -> tuple[Command, ...]:
        return (Command((self.remove, "-f", *map(str, files)), privileged=True),) if files else ()


def _holds(file: Path, anchor: Anchor) -> bool:
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    # Without line ends: other programs may write lines of another length.
    return "".join(anchor.pem.split()) in "".join(text.split())
