"""NSS databases, where Firefox and Chromium on Linux keep the CAs that their user trusts: certutil of NSS.

Chromium reads `~/.pki/nssdb` where that exists; from version 146 on, `$XDG_DATA_HOME/pki/nssdb` where it does not.
Firefox has a database in each profile, from version 147 on below `$XDG_CONFIG_HOME` for new users.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from asgi_tls.dev.stores.store import Anchor, Command, Host, Kind, TrustStore, ask, is_ours
from asgi_tls.errors import TrustStoreError

_CHROMIUMS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "google-chrome-beta",
    "brave-browser",
    "microsoft-edge",
    "vivaldi",
    "opera",
)

# Below the home directory. Snap and Flatpak give a program a home of its own.
_CHROMIUM_ELSEWHERE = (
    "snap/*/current/.pki/nssdb",
    "snap/*/current/.local/share/pki/nssdb",
    ".var/app/*/.pki/nssdb",
    ".var/app/*/data/pki/nssdb",
)
_FIREFOX_PROFILES = (
    ".mozilla/firefox/*",
    "snap/firefox/common/.mozilla/firefox/*",
    "snap/firefox/common/.config/mozilla/firefox/*",
    ".var/app/org.mozilla.firefox/.mozilla/firefox/*",
    ".var/app/org.mozilla.firefox/config/mozilla/firefox/*",
    "Library/Application Support/Firefox/Profiles/*",
)

# The package that brings certutil, by the program that installs packages.
_PACKAGES = {
    "apt-get": "apt-get install libnss3-tools",
    "dnf": "dnf install nss-tools",
    "pacman": "pacman -S nss",
    "zypper": "zypper install mozilla-nss-tools",
    "apk": "apk add nss-tools",
    "brew": "brew install nss",
}

# `certutil -L`: the nickname, then how far it is trusted for TLS, mail and signed code.
_ENTRY = re.compile(r"(?P<nickname>.+?) +(?P<tls>[a-zA-Z]*),[a-zA-Z]*,[a-zA-Z]*\s*\Z")


@dataclass(frozen=True)
class NSSDatabase:
    """The database in `directory`, created if missing. `certutil` is the program of NSS."""

    name: str
    directory: Path
    certutil: str

    kind: ClassVar[Kind] = "nss"

    def install(self, anchor: Anchor) -> tuple[Command, ...]:
        entries = self._entries()
        nickname = self._find(entries, anchor)
        outdated = [each for each in entries if is_ours(each, anchor.family, anchor) and each != nickname]
        trusted = nickname is not None and "C" in entries[nickname]
        if trusted and not outdated:
            return ()
        # C: trusted to issue server certificates. T would be for clients.
        add = self._command("-A", "-t", "C,,", "-n", nickname or anchor.label, "-i", str(anchor.path))
        return (*self._creation(), *map(self._deletion, outdated), *(() if trusted else (add,)))

    def uninstall(self, family: str, anchor: Anchor | None) -> tuple[Command, ...]:
        entries = self._entries()
        ours = {each for each in entries if is_ours(each, family, anchor)}
        if anchor is not None and (nickname := self._find(entries, anchor)) is not None:
            ours.add(nickname)
        return tuple(map(self._deletion, sorted(ours)))

    @property
    def _exists(self) -> bool:
        return (self.directory / "cert9.db").exists()

    def _creation(self) -> tuple[Command, ...]:
        if self._exists:
            return ()
        directory = () if self.directory.is_dir() else (Command(("mkdir", "-p", "-m", "0700", str(self.directory))),)
        return (*directory, self._command("-N", "--empty-password"))

    def _deletion(self, nickname: str) -> Command:
        return self._command("-D", "-n", nickname)

    def _command(self, *arguments: str) -> Command:
        return Command((self.certutil, *arguments, "-d", f"sql:{self.directory}"))

    def _entries(self) -> dict[str, str]:
        """Nickname -> trust for TLS."""
        if not self._exists:
            return {}
        lines = self._list().splitlines()
        found = (_ENTRY.match(line) for line in lines if "Trust Attributes" not in line)
        return {entry["nickname"]: entry["tls"] for entry in found if entry and not entry["nickname"].isspace()}

    def _find(self, entries: dict[str, str], anchor: Anchor) -> str | None:
        """Its nickname: a certificate that was added by hand keeps its own."""
        if anchor.label in entries:
            return anchor.label
        # `u`: the database has the private key, so it is a user's certificate and not a CA.
        others = (nickname for nickname, trust in entries.items() if "u" not in trust)
        return next((each for each in others if anchor.pem in self._list("-a", "-n", each).replace("\r", "")), None)

    def _list(self, *arguments: str) -> str:
        listed = ask(*self._command("-L", *arguments).argv)
        if listed.returncode:
            raise TrustStoreError(f"{self.directory}: {listed.stderr.strip()}", fix="Close the browser, and try again.")
        return listed.stdout


@dataclass(frozen=True)
class WithoutCertutil:
    """Databases without the program that changes them."""

    name: str
    advice: str

    kind: ClassVar[Kind] = "nss"

    def install(self, anchor: Anchor) -> tuple[Command, ...]:  # noqa: ARG002 -- the protocol's
        raise TrustStoreError("certutil of NSS is not installed", fix=self.advice)

    def uninstall(self, family: str, anchor: Anchor | None) -> tuple[Command, ...]:  # noqa: ARG002 -- the protocol's
        raise TrustStoreError("certutil of NSS is not installed", fix=self.advice)


def nss(host: Host) -> tuple[TrustStore, ...]:
    """One store for each database; none on Windows, where browsers read the system's store."""
    if host.platform == "win32":
        return ()
    databases = (*_chromium(host), *_firefox(host))
    certutil = _certutil(host)
    if certutil is not None:
        return tuple(NSSDatabase(f"{browser} ({place})", place, certutil) for browser, place in databases)
    # On macOS, browsers read the keychain.
    if not databases or host.platform == "darwin":
        return ()
    names = " and ".join(dict.fromkeys(browser for browser, _ in databases))
    return (WithoutCertutil(names, package_advice(host)),)


def package_advice(host: Host) -> str:
    """How to get certutil on this system."""
    commands = [command for program, command in _PACKAGES.items() if host.program(program)]
    return f"Run `{commands[0] if commands else 'your package manager for NSS tools'}`, then this command again."


def _certutil(host: Host) -> str | None:
    found = host.program("certutil")
    homebrew = (host.root / place / "opt/nss/bin/certutil" for place in ("opt/homebrew", "usr/local"))
    return found or next((str(path) for path in homebrew if path.exists()), None)


def _chromium(host: Host) -> Iterator[tuple[str, Path]]:
    if host.platform == "darwin":
        return
    old, new = host.home / ".pki/nssdb", host.data_home / "pki/nssdb"
    present = [path for path in (old, new) if path.is_dir()]
    # If neither exists, the old place: every version finds it.
    if not present and any(host.program(name) for name in _CHROMIUMS):
        present = [old]
    for path in (*present, *(path for place in _CHROMIUM_ELSEWHERE for path in sorted(host.home.glob(place)))):
        yield "Chromium", path


def _firefox(host: Host) -> Iterator[tuple[str, Path]]:
    profiles = [path for place in _FIREFOX_PROFILES for path in sorted(host.home.glob(place))]
    profiles += sorted(host.config_home.glob("mozilla/firefox/*"))
    for path in dict.fromkeys(profiles):
        if (path / "cert9.db").exists():  # a profile gets it when Firefox has run once
            yield "Firefox", path
