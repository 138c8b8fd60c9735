"""How Linux distributions trust a CA: a file in a directory, and a program that makes their bundles anew from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from asgi_tls.dev.stores.store import Anchor, Command, Host, Kind, is_ours


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
        outdated = [path for path in self._labelled(anchor.family, anchor) if path != target]
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
        return sorted(path for path in self.directory.glob("asgi-tls-*.crt") if is_ours(path.stem, family, anchor))

    def _removal(self, files: list[Path]) -> tuple[Command, ...]:
        if not files:
            return ()
        return (Command((self.remove, "-f", *map(str, [*files, *self._links(files)])), privileged=True),)

    def _links(self, files: list[Path]) -> list[Path]:
        """The links that lead to the files, by name and by hash: update-ca-certificates makes them, and leaves them."""
        links = {path: path.readlink() for path in self.bundle.parent.iterdir() if path.is_symlink()}
        named = [path for path, target in links.items() if target in files]
        names = {Path(path.name) for path in named}
        return sorted([*named, *(path for path, target in links.items() if target in names)])


def _holds(file: Path, anchor: Anchor) -> bool:
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    # Without line ends: other programs may write lines of another length.
    return "".join(anchor.pem.split()) in "".join(text.split())
