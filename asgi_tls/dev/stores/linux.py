"""Linux distributions: a CA is a file in a directory, and a program makes their bundles of all such files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from asgi_tls.dev.stores.store import Anchor, Command, Host, Kind, is_ours

# The directory for local CAs; the PEM file with all CAs, which OpenSSL, curl and Python read; the command that
# makes it. Firefox reads the stores of Fedora and Arch too, through p11-kit.
_DISTRIBUTIONS: Final = (
    # Fedora, RHEL and their kin: update-ca-trust(8)
    (
        "etc/pki/ca-trust/source/anchors",
        "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
        ("update-ca-trust", "extract"),
    ),
    # Arch Linux: update-ca-trust(8)
    (
        "etc/ca-certificates/trust-source/anchors",
        "etc/ca-certificates/extracted/tls-ca-bundle.pem",
        ("update-ca-trust",),
    ),
    # Debian, Ubuntu and Alpine: update-ca-certificates(8)
    ("usr/local/share/ca-certificates", "etc/ssl/certs/ca-certificates.crt", ("update-ca-certificates",)),
)


def linux(host: Host) -> Iterator[AnchorDirectory]:
    """The stores whose directory and program exist."""
    for directory, bundle, (name, *arguments) in _DISTRIBUTIONS:
        place, program = host.root / directory, host.system_program(name)
        if program is not None and place.is_dir():
            copy, remove = (host.system_program(each) or each for each in ("install", "rm"))
            yield AnchorDirectory(
                f"System store ({place})", place, host.root / bundle, (program, *arguments), copy, remove
            )


@dataclass(frozen=True)
class AnchorDirectory:
    """`refresh` reads `directory` and writes `bundle`."""

    name: str
    directory: Path
    bundle: Path
    refresh: tuple[str, ...]
    copy: str
    remove: str

    kind: ClassVar[Kind] = "system"

    def install(self, anchor: Anchor) -> tuple[Command, ...]:
        target = self.directory / f"{anchor.label}.crt"
        outdated = [path for path in self._labelled(anchor.family, anchor) if path != target]
        if not outdated and _holds(target, anchor) and _holds(self.bundle, anchor):
            return ()
        copy = Command((self.copy, "-m", "0644", str(anchor.path), str(target)), privileged=True)
        return (*self._removal(outdated), copy, Command(self.refresh, privileged=True))

    def uninstall(self, family: str, anchor: Anchor | None) -> tuple[Command, ...]:
        files = self._labelled(family, anchor)
        # A bundle that still contains it was not made again since the file was deleted.
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
    # Without line breaks: programs write lines of different lengths.
    return "".join(anchor.pem.split()) in "".join(text.split())
